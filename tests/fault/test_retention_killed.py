"""A dispatcher that is killed in the middle of retention: another round ends it, counts stay right (F03)."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from carillon_shared.db.pool import Pool
from carillon_shared.lifecycle import CrashPoint
from support.audience import register_many
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(300), pytest.mark.extended]

PEOPLE = 450  # three steps
OLD = datetime.now(UTC) - timedelta(days=200)
_OLD_ITEMS = """
    INSERT INTO carillon.feed_items (id, tenant_id, subscriber, event_id, seq, attention_seq, type, category,
        priority, title, body, data)
    SELECT carillon.delivery_id(carillon.delivery_prefix(e.id), f.subscriber, 'inapp'), f.tenant_id,
           f.subscriber, e.id, f.seq + 1, f.seq + 1, 'message', 'general', 'normal', 'Old', 'x', '{}'
    FROM carillon.feeds f, (SELECT carillon.new_event_id($2) AS id) AS e WHERE f.tenant_id = $1
"""
_COUNT_THEM = "UPDATE carillon.feeds SET seq = 2, unread = 2, unseen = 2 WHERE tenant_id = $1"
_OLD_PARTITIONS = "SELECT count(*) FROM carillon.partitions() WHERE ends_at < now() - interval '90 days'"


@pytest.fixture
async def owner(shared_ground: Platform) -> AsyncIterator[Pool]:
    """The database as its owner; the dispatcher looks after retention every half second."""
    before = dict(shared_ground.extra["dispatcher"])
    shared_ground.extra["dispatcher"]["CARILLON_DISPATCHER_HOUSEKEEPING_INTERVAL"] = "0.5"
    pool = await shared_ground.database.pool(max_size=1)
    yield pool
    await pool.close()
    shared_ground.extra["dispatcher"] = before


async def _prepare(platform: Platform, owner: Pool, tenant: Tenant) -> None:
    """Give everybody an item of today and one that is 200 days old, both unread."""
    await register_many(platform, tenant, PEOPLE)
    event = await tenant.send(
        type="message", data={"title": "T", "body": "B"}, audience={"everyone": True}, channels=["inapp"]
    )
    await tenant.event_is(event, delivered=PEOPLE)
    await platform.stop("dispatcher")
    await owner.fetchval("SELECT carillon.ensure_partitions($1, 1)", OLD.date())
    await owner.execute(_OLD_ITEMS, tenant.id, OLD)
    await owner.execute(_COUNT_THEM, tenant.id)


@pytest.mark.parametrize("point", [CrashPoint.RETENTION_AFTER_EMPTY, CrashPoint.RETENTION_BEFORE_DROP])
async def test_a_killed_round_is_ended_by_the_next_ones(
    shared_ground: Platform, owner: Pool, point: CrashPoint
) -> None:
    tenant = await shared_ground.new_tenant()
    await _prepare(shared_ground, owner, tenant)
    shared_ground.extra["dispatcher"]["CARILLON_CRASH_AT"] = point.value
    shared_ground.extra["dispatcher"]["CARILLON_CRASH_AFTER_HITS"] = "2"
    await shared_ground.spawn("dispatcher")
    assert await shared_ground.ended("dispatcher", seconds=90) == -9
    assert await owner.fetchval(_OLD_PARTITIONS) > 0
    for name in ("CARILLON_CRASH_AT", "CARILLON_CRASH_AFTER_HITS"):
        del shared_ground.extra["dispatcher"][name]
    await shared_ground.start("dispatcher", "dispatcher-2")

    async def gone() -> bool:
        return bool(await owner.fetchval(_OLD_PARTITIONS) == 0)

    await eventually(gone, seconds=60, what="old partitions to be dropped")
    rows = await owner.fetch(
        """SELECT DISTINCT unread, unseen, seq, floor_seq,
                  (SELECT count(*) FROM carillon.feed_items i
                   WHERE i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber) AS items
           FROM carillon.feeds f WHERE tenant_id = $1""",
        tenant.id,
    )
    assert [tuple(row) for row in rows] == [(1, 1, 3, 3, 1)]
    await shared_ground.stop("dispatcher-2")
