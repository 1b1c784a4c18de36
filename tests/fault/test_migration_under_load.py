"""The schema is migrated while services run (F37): nothing is lost, and nobody waits for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from carillon_shared.db import migrate as migrating
from carillon_shared.db.migrate import is_current, migrate
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.platform import Platform
from support.revisions import go_back, make_next_revision, previous_revision

pytestmark = pytest.mark.timeout(240)

# Columns that statements of running services select with `*`, an index on a partitioned table, a constraint.
UP = [
    "ALTER TABLE carillon.events ADD COLUMN added_later integer",
    "ALTER TABLE carillon.deliveries ADD COLUMN added_later integer NOT NULL DEFAULT 7",
    "ALTER TABLE carillon.subscribers ADD COLUMN added_later text",
    "ALTER TABLE carillon.feed_items ADD COLUMN added_later text",
    "CREATE INDEX events_added_later ON carillon.events (added_later)",
    "ALTER TABLE carillon.tenants ADD CONSTRAINT named_later CHECK (name <> '')",
]
DOWN = [
    "ALTER TABLE carillon.tenants DROP CONSTRAINT named_later",
    *(
        f"ALTER TABLE carillon.{table} DROP COLUMN added_later"
        for table in ("events", "deliveries", "subscribers", "feed_items")
    ),
]
CONSUMERS = ["dispatcher", "email-worker", "whatsapp-worker", "inapp-worker"]


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrations are those of a release that is still to come."""
    before = migrating.newest_revision()
    monkeypatch.setattr(migrating, "_MIGRATIONS", make_next_revision(tmp_path, up=UP, down=DOWN))
    assert migrating.newest_revision() != before


@pytest.mark.usefixtures("next_release")
async def test_a_migration_of_the_busiest_tables_waits_for_nobody_at_anybodys_cost(
    shared_ground: Platform,
) -> None:
    """A report reads an event in a transaction that stays open: the migration needs the same table alone."""
    platform, url = shared_ground, shared_ground.database.url()
    async with traffic(platform, rate=20) as flow:
        await flow.accepted(20)
        async with _a_long_report(platform):
            migrating_now = asyncio.create_task(migrate(url))
            await flow.accepted(60)
            assert not migrating_now.done()
        await migrating_now
        await flow.accepted(30)
        assert await is_current(url)
    (await check(platform, flow.ledger)).assert_clean()
    assert flow.ledger.refused < 10
    await go_back(url, "-1")


@pytest.mark.extended
async def test_what_was_accepted_before_and_during_the_newest_migration_is_delivered(
    shared_ground: Platform,
) -> None:
    platform, url = shared_ground, shared_ground.database.url()
    async with traffic(platform, rate=20) as flow:
        await flow.accepted(20)
        # The release before knows nothing of the newest tables: only intake is the same in both.
        await platform.stop(*CONSUMERS)
        await go_back(url, previous_revision())
        assert not await is_current(url)
        await flow.accepted(20)
        await migrate(url)
        await flow.accepted(20)
        await platform.start(*CONSUMERS)
    (await check(platform, flow.ledger)).assert_clean()
    assert flow.ledger.refused < 10


@pytest.mark.usefixtures("next_release")
async def test_a_migration_that_never_gets_its_turn_says_what_it_waited_for(shared_ground: Platform) -> None:
    url = shared_ground.database.url()
    async with _a_long_report(shared_ground):
        with pytest.raises(Exception, match="lock timeout"):
            await migrate(url, patience=1)
    assert not await is_current(url)  # and nothing of it is left


@asynccontextmanager
async def _a_long_report(platform: Platform) -> AsyncIterator[None]:
    connection = await asyncpg.connect(platform.database.url(), timeout=10)
    try:
        async with connection.transaction():
            await connection.fetch("SELECT * FROM carillon.events LIMIT 1")
            yield
    finally:
        await connection.close(timeout=10)
