"""What housekeeping clears away and makes room for, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from carillon_dispatcher.sweepers.housekeeping import Housekeeping
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.planning import Planning, planning_in


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=10, range_size=5) as made:
        yield made


async def test_corrections_go_with_their_deliveries(planning: Planning) -> None:
    event = await planning.add_event({"everyone": True})
    (kept,) = await planning.world.add_deliveries(event, planning.world.people[:1], Channel.EMAIL)
    old, new = datetime.now(UTC) - timedelta(days=2), datetime.now(UTC)
    await planning.owner.executemany(
        "INSERT INTO carillon.corrections (delivery_id, tenant_id, updated_at) VALUES ($1, $2, $3)",
        [(one, planning.world.tenant_id, at) for one, at in ((kept, old), (uuid4(), old), (uuid4(), new))],
    )
    await Housekeeping(planning.dispatcher, duplicate_days=7, batch=3).clear_away()
    rows = await planning.owner.fetch("SELECT * FROM carillon.corrections ORDER BY updated_at")
    assert [(row["delivery_id"] == kept, row["updated_at"]) for row in rows] == [(True, old), (False, new)]


async def test_housekeeping_forgets_old_suppressions_and_conversations(planning: Planning) -> None:
    tenant = planning.world.tenant_id
    await planning.owner.execute(
        """INSERT INTO carillon.suppressions (tenant_id, target, channel, reason, shown, expires_at)
        SELECT $1, carillon.address_digest(s.name), 'email', 'bounced', s.name, s.ends
        FROM (VALUES ('long over', now() - interval '31 days'), ('just over', now()), ('for good', NULL))
            AS s(name, ends)""",
        tenant,
    )
    await planning.owner.execute(
        """INSERT INTO carillon.conversations (tenant_id, target, wrote_at)
        SELECT $1, carillon.address_digest(n::text), now() - n * interval '1 day'
        FROM generate_series(1, 3) AS n""",
        tenant,
    )
    await Housekeeping(planning.dispatcher, duplicate_days=7, batch=3).clear_away()
    rows = await planning.owner.fetch("SELECT shown FROM carillon.suppressions ORDER BY shown")
    assert [row["shown"] for row in rows] == ["for good", "just over"]
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.conversations") == 1


async def test_housekeeping_makes_room_and_clears_away(planning: Planning) -> None:
    await planning.owner.execute(
        """INSERT INTO carillon.event_keys (tenant_id, source, id, event_id, body_hash, accepted_at)
        SELECT $1, '/s', n::text, gen_random_uuid(), sha256('x'), now() - n * interval '1 day'
        FROM generate_series(1, 12) AS n""",
        planning.world.tenant_id,
    )
    await planning.owner.execute(
        "INSERT INTO carillon.queue_watermarks VALUES ('q', 'old', now(), now() - interval '2 days')"
    )
    event = await planning.add_event({"everyone": True})
    await planning.store.cut(event)
    await planning.owner.execute(
        "UPDATE carillon.events SET status = 'expired', accepted_at = now() - interval '2 days'"
    )
    house = Housekeeping(planning.dispatcher, duplicate_days=7, batch=3)
    assert [await house.clear_away() for _ in range(3)] == [3, 3, 0]
    kept = await planning.owner.fetch("SELECT id FROM carillon.event_keys ORDER BY accepted_at DESC")
    assert [row["id"] for row in kept] == ["1", "2", "3", "4", "5", "6"]
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.queue_watermarks") == 0
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.fanout_ranges") == 0
    await planning.owner.execute(
        """DO $$ BEGIN
            EXECUTE 'DROP TABLE carillon.events' || to_char(now() + interval '3 days', '_YYYYMMDD');
        END $$"""
    )
    assert await house.make_partitions() == 0
    assert await planning.owner.fetchval("SELECT carillon.partition_exists_for(now() + interval '3 days')")
