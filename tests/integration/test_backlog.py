"""What waits in the database is measured by age and number, by a dispatcher, on a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
from carillon_dispatcher.planning.rows import Verdict
from carillon_dispatcher.sweepers.backlog import Backlog
from carillon_shared.domain.channels import Channel
from carillon_shared.telemetry import metrics
from prometheus_client import REGISTRY
from support.migrated import MigratedDatabase
from support.planning import Planning, planning_in


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=10, range_size=5) as made:
        yield made


async def _measure(migrated: MigratedDatabase) -> None:
    pool = await migrated.pool("carillon_dispatcher", max_size=1)
    assert await Backlog(pool).measure() == 0
    await pool.close()


def _value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None
    return found


async def test_nothing_that_waits_is_zero_for_every_lane_and_channel(migrated: MigratedDatabase) -> None:
    metrics.RELAY_LAG.labels("bulk").set(7)
    await _measure(migrated)
    for lane in ("critical", "normal", "bulk"):
        assert _value("carillon_relay_lag_seconds", lane=lane) == 0
        assert _value("carillon_fanout_still_seconds", lane=lane) == 0
    for channel in Channel:
        assert _value("carillon_dead_letters_waiting", channel=channel) == 0
    assert _value("carillon_due_lag_seconds") == 0


async def test_what_is_owed_due_and_dead_has_its_age(migrated: MigratedDatabase, planning: Planning) -> None:
    event = await planning.add_event({"users": ["u0", "u1"]}, channels=(Channel.EMAIL,))
    assert await planning.plan(event) == [Verdict.PLANNED]
    await planning.owner.execute(
        "UPDATE carillon.events SET owed_at = now() - interval '5 min', lane = 'normal'"
    )
    await planning.owner.execute(
        """INSERT INTO carillon.due SELECT id, now() - interval '7 min', 'hold'
           FROM carillon.deliveries LIMIT 1"""
    )
    await planning.owner.execute(
        """INSERT INTO carillon.dead_letters
               (delivery_id, tenant_id, channel, event_type, attempt, reason, dead_at)
           SELECT id, tenant_id, channel, 'x', 1, 'poison', now() - interval '9 min'
           FROM carillon.deliveries"""
    )
    dead = await planning.owner.fetchval("SELECT count(*) FROM carillon.dead_letters")
    await _measure(migrated)
    assert 300 <= _value("carillon_relay_lag_seconds", lane="normal") < 360
    assert 420 <= _value("carillon_due_lag_seconds") < 480
    assert _value("carillon_dead_letters_waiting", channel="email") == dead > 0
    assert 540 <= _value("carillon_dead_letters_oldest_seconds", channel="email") < 600


async def test_a_fan_out_that_stands_still_has_its_age(
    migrated: MigratedDatabase, planning: Planning
) -> None:
    event = await planning.add_event({"everyone": True}, channels=(Channel.EMAIL,))
    assert await planning.plan(event) == [Verdict.LARGE]
    assert len(await planning.store.cut(event)) == 2
    await planning.owner.execute(
        """UPDATE carillon.events
           SET lane = 'bulk', status = 'dispatching', accepted_at = now() - interval '6 min'"""
    )
    await planning.owner.execute(
        "UPDATE carillon.fanout_ranges SET planned_at = NULL, published_at = NULL WHERE event_id = $1", event
    )
    ranges = await planning.owner.fetchval("SELECT count(*) FROM carillon.fanout_ranges")
    await _measure(migrated)
    assert _value("carillon_fanout_ranges_open", lane="bulk") == ranges > 1
    assert 360 <= _value("carillon_fanout_still_seconds", lane="bulk") < 420
