"""Fixtures that every tier shares: real servers, started only when a selected test needs them."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext, suppress

import pytest
from carillon_local.errors import LocalError
from carillon_local.postgres import PostgresServer
from carillon_local.rabbitmq import RabbitmqServer
from support import migrated as migrated_databases
from support.local_servers import LocalServers
from support.migrated import MigratedDatabase
from support.programs import ensure_program
from support.services import POSTGRES, RABBITMQ, PostgresService, RabbitmqService, Services

_SERVICES = pytest.StashKey[Services]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVICES] = Services(say=_speaker(config))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Install and start what the selected tests need now, outside any test's time limit."""
    if session.testsfailed or session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    session.config.stash[_SERVICES].begin(wanted & {POSTGRES, RABBITMQ})
    marks = [mark for item in session.items for mark in item.iter_markers("needs")]
    for program in sorted({program for mark in marks for program in mark.args}):
        with suppress(LocalError):  # the tests that need it say so themselves
            ensure_program(program, _speaker(session.config))


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SERVICES].close()


def _speaker(config: pytest.Config) -> Callable[[str], None]:
    """Return a function that tells the person at the terminal something, whatever pytest captures."""

    def say(sentence: str) -> None:
        capture = config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            sys.stderr.write(f"{sentence}\n")

    return say


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> PostgresService:
    """The session's PostgreSQL; take ``database`` for a database of one's own."""
    return pytestconfig.stash[_SERVICES].postgres()


@pytest.fixture(scope="session")
def rabbitmq(pytestconfig: pytest.Config) -> RabbitmqService:
    """The session's RabbitMQ; take ``broker_url`` for a virtual host of one's own."""
    return pytestconfig.stash[_SERVICES].rabbitmq()


@pytest.fixture
async def database(postgres: PostgresService) -> AsyncIterator[str]:
    """Name of an empty database with the login roles, dropped after the test."""
    name = await postgres.create_database()
    yield name
    await postgres.drop_database(name)


@pytest.fixture(scope="session")
async def database_template(postgres: PostgresService) -> AsyncIterator[str]:
    """Name of a migrated database that tests copy."""
    name = await migrated_databases.make_template(postgres)
    yield name
    await postgres.drop_database(name)


@pytest.fixture
async def migrated(postgres: PostgresService, database_template: str) -> AsyncIterator[MigratedDatabase]:
    """A database at the newest revision for this test alone."""
    copy = await migrated_databases.copy_template(postgres, database_template)
    yield copy
    await migrated_databases.drop(copy)


@pytest.fixture
def broker_url(rabbitmq: RabbitmqService) -> Iterator[str]:
    """AMQP URL of an empty virtual host, deleted after the test."""
    name = rabbitmq.create_vhost()
    yield rabbitmq.url(name)
    rabbitmq.delete_vhost(name)


@pytest.fixture
def local_servers(pytestconfig: pytest.Config) -> Iterator[LocalServers]:
    """Makes private servers that a test may stop, kill and pause as it likes."""
    servers = LocalServers(say=_speaker(pytestconfig))
    yield servers
    servers.close()


@pytest.fixture
def own_postgres(local_servers: LocalServers) -> PostgresServer:
    """A running PostgreSQL for this test alone."""
    server = local_servers.new_postgres("own-postgres")
    server.start()
    return server


@pytest.fixture
def own_rabbitmq(local_servers: LocalServers) -> RabbitmqServer:
    """A running RabbitMQ for this test alone."""
    server = local_servers.new_rabbitmq("own-rabbitmq")
    server.start()
    return server
