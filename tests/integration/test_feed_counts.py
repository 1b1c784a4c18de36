"""Counts never drift: after any changes they are what counting the items anew gives."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from carillon_api.inbox.changing import Change, change_items, mark_all
from carillon_api.inbox.reading import read_counts
from carillon_shared.db.pool import Pool, tenant_transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.live_api import Tenant, open_tenant
from support.migrated import MigratedDatabase

_RECOUNT = """
SELECT count(*) FILTER (WHERE NOT read) AS unread, count(*) FILTER (WHERE NOT seen) AS unseen, f.seq,
       coalesce(max(i.seq), 0) AS newest
FROM carillon.feeds f
LEFT JOIN LATERAL (
    SELECT i.seq, i.read_at IS NOT NULL OR i.attention_seq <= f.read_all_seq AS read,
           i.seen_at IS NOT NULL OR i.attention_seq <= f.seen_all_seq AS seen
    FROM carillon.feed_items i
    WHERE i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber
      AND i.archived_at IS NULL AND i.deleted_at IS NULL AND i.snoozed_until IS NULL) AS i ON true
WHERE f.subscriber = $1 GROUP BY f.seq
"""

_PAST = datetime(2020, 1, 1, tzinfo=UTC)
_FLAG = st.sampled_from([None, True, False])
_CHANGES = st.builds(
    Change,
    read=_FLAG,
    seen=_FLAG,
    archived=_FLAG,
    snoozes=st.booleans(),
    snoozed_until=st.sampled_from([None, _PAST, datetime(2060, 1, 1, tzinfo=UTC)]),
    deleted=st.sampled_from([False] * 9 + [True]),
)
_STEPS = st.lists(
    st.one_of(
        st.just(("add",)),
        st.tuples(st.just("change"), _CHANGES, st.sets(st.integers(0, 9), max_size=4)),
        st.just(("archive-read",)),
        st.just(("wake",)),
        st.tuples(st.just("mark"), st.booleans()),
    ),
    min_size=1,
    max_size=25,
)


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        yield made


@pytest.fixture
async def pool(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    opened = await migrated.pool("carillon_api")
    yield opened
    await opened.close()


class _Feed:
    """One person's feed, changed step by step."""

    def __init__(self, tenant: Tenant, pool: Pool, name: str, number: int) -> None:
        self.tenant, self.pool, self.name, self.number = tenant, pool, name, number
        self.items: list[UUID] = []

    async def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("add",):
                self.items.append((await self.tenant.add_item(self.name, announce=False))["id"])
            case ("change", change, places):
                await self.change(change, [item for n, item in enumerate(self.items) if n % 10 in places])
            case ("archive-read",):
                await self.change(Change(archived=True), None)
            case ("wake",):
                await self.tenant.pool.fetch("SELECT * FROM carillon.wake_snoozed(100)")
            case ("mark", read):
                async with tenant_transaction(self.pool, self.tenant.id) as connection:
                    await mark_all(connection, self.number, read=read)

    async def change(self, change: Change, ids: list[UUID] | None) -> None:
        async with tenant_transaction(self.pool, self.tenant.id) as connection:
            before = await read_counts(connection, self.number)
            changed = await change_items(connection, self.number, change, ids=ids)
            after = await read_counts(connection, self.number)
        assert after.seq - before.seq == bool(changed)

    async def check(self) -> None:
        async with tenant_transaction(self.pool, self.tenant.id) as connection:
            counts = await read_counts(connection, self.number)
            row = await connection.fetchrow(_RECOUNT, self.number)
        if row is not None:
            assert (counts.unread, counts.unseen, counts.seq) == (row["unread"], row["unseen"], row["seq"])
            assert row["newest"] <= row["seq"]


async def _new_feed(tenant: Tenant, pool: Pool, name: str) -> _Feed:
    await tenant.add_people(name)
    number = await tenant.pool.fetchval("SELECT number FROM carillon.subscribers WHERE id = $1", name)
    return _Feed(tenant, pool, name, number)


async def test_counts_are_what_counting_anew_gives(tenant: Tenant, pool: Pool) -> None:
    loop, made = asyncio.get_running_loop(), iter(range(10_000))

    async def play(steps: list[tuple[Any, ...]]) -> None:
        feed = await _new_feed(tenant, pool, f"u-{next(made)}")
        for step in steps:
            await feed.step(step)
            await feed.check()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_STEPS)
    def property_holds(steps: list[tuple[Any, ...]]) -> None:
        asyncio.run_coroutine_threadsafe(play(steps), loop).result(60)

    await asyncio.to_thread(property_holds)


async def test_concurrent_changes_keep_the_counts_and_leave_no_hole(tenant: Tenant, pool: Pool) -> None:
    feed = await _new_feed(tenant, pool, "u-busy")
    for _ in range(8):
        await feed.step(("add",))
    ids = feed.items

    async def flip(n: int) -> None:
        for turn in range(6):
            await feed_change(n, read=turn % 2 == 0)

    async def feed_change(n: int, *, read: bool) -> None:
        async with tenant_transaction(pool, tenant.id) as connection:
            change = Change(read=read, archived=n % 3 == 0, snoozes=n % 3 == 1, snoozed_until=_PAST)
            await change_items(connection, feed.number, change, ids=ids[n % 4 : n % 4 + 4])

    await asyncio.gather(
        *(flip(n) for n in range(6)),
        *(feed.step(("add",)) for _ in range(5)),
        *(feed.step(("mark", bool(n % 2))) for n in range(4)),
        *(feed.step(("wake",)) for _ in range(4)),
    )
    await feed.check()
