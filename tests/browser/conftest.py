"""A real browser before a real platform: one of each for all, to each test its own tenant and context."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from carillon_local.errors import LocalError
from carillon_shared.broker.declare import declare
from playwright.async_api import Browser
from support import migrated as migrated_databases
from support.browsing import Desk, open_desk, second_browser
from support.chromium import ensure_chromium, running_browser
from support.platform import Platform, running_platform
from support.services import PostgresService, RabbitmqService

_CHROMIUM = pytest.StashKey[Path | LocalError]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Install the browser when it is missing: outside any test's time limit."""
    if session.testsfailed or session.config.option.collectonly:
        return
    if any("browser" in getattr(item, "fixturenames", ()) for item in session.items):
        try:
            found: Path | LocalError = ensure_chromium(session.config.get_terminal_writer().line)
        except LocalError as error:  # told by the tests that need it; the others run
            found = error
        session.config.stash[_CHROMIUM] = found


@pytest.fixture(scope="session", name="platform")
async def _platform(
    postgres: PostgresService,
    rabbitmq: RabbitmqService,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Platform]:
    """The running platform, shared; whoever ends a part of it starts it again."""
    database = await migrated_databases.copy_template(postgres, database_template)
    vhost = rabbitmq.create_vhost()
    await declare(rabbitmq.url(vhost))
    async with running_platform(
        database, rabbitmq.url(vhost), tmp_path_factory.mktemp("platform-logs")
    ) as running:
        yield running
    rabbitmq.delete_vhost(vhost)
    await migrated_databases.drop(database)


@pytest.fixture(scope="session")
async def browser(pytestconfig: pytest.Config) -> AsyncIterator[Browser]:
    """The running browser."""
    found = pytestconfig.stash[_CHROMIUM]
    if isinstance(found, LocalError):
        raise found
    async with running_browser(found) as running:
        yield running


@pytest.fixture
async def desk(platform: Platform, browser: Browser) -> AsyncIterator[Desk]:
    """A tenant, a person of theirs called u-7, and a browser that this person has to themselves."""
    async with open_desk(platform, browser) as opened:
        yield opened


@pytest.fixture
async def other(desk: Desk, browser: Browser) -> AsyncIterator[Desk]:
    """Another device of the same person."""
    async with second_browser(desk, browser) as opened:
        yield opened
