"""Every example of the guide does what the page says."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, open_api
from support.guide import Command, Expected, examples, filled, says
from support.migrated import MigratedDatabase

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGES = sorted(page.name for page in GUIDE.glob("*.md"))
# These have examples of other kinds, with tests of their own.
_OTHERS = {
    "README.md",
    "templates.md",
    "inbox.md",
    "bounces.md",
    "providers.md",
    "import-and-export.md",
    "python.md",
}
_GOOD = 300


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


async def _call(producer: Producer, command: Command, values: dict[str, str]) -> Any:
    caller = producer if command.who == "api" else Producer(producer.http, values["TOKEN"], 0, "")
    body = filled(command.body, values) if command.body is not None else None
    answer = await caller.call(
        command.method,
        filled(command.path, values),
        content=body,
        headers={"Content-Type": "application/json"},
    )
    said: Any = answer.json() if answer.content else None
    if command.status is None:
        assert answer.status_code < _GOOD, f"{command}: {answer.text}"
    else:
        assert answer.status_code == command.status, f"{command}: {answer.text}"
    if command.name and command.taken:
        values[command.name] = said[command.taken]
    return said


@pytest.mark.parametrize("page", [page for page in PAGES if page not in _OTHERS])
async def test_the_examples_of_a_page_do_what_it_says(api: Api, owner: Pool, page: str) -> None:
    producer = await make_producer(api, owner)
    values = {"TOMORROW": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    said: Any = None
    checked = 0
    for step in examples(GUIDE / page):
        if isinstance(step, Expected):
            assert says(said, step.said), f"{json.dumps(step.said)}\nis not in\n{json.dumps(said, indent=1)}"
            checked += 1
        else:
            said = await _call(producer, step, values)
    assert checked, "a page without an example"


def test_every_page_is_in_the_table_of_contents() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (GUIDE / "README.md").read_text(encoding="utf-8"))
    assert sorted([*linked, "README.md"]) == PAGES
