"""Limits per person on a real PostgreSQL: a true sliding window, also for planners that run at once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from carillon_dispatcher.sweepers.housekeeping import Housekeeping
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from support.migrated import MigratedDatabase
from support.planning import TYPE, Planning, planning_in
from support.waiting import eventually


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=20) as made:
        yield made


_LIMIT = {"limit": 10, "per_seconds": 3600, "channels": ["email"], "on_exceed": "hold"}


@pytest.mark.parametrize("together", [True, False])
async def test_one_hundred_events_for_one_person_take_ten_slots(
    planning: Planning, *, together: bool
) -> None:
    await planning.add_type(throttle=_LIMIT)
    channels = (Channel.EMAIL, Channel.INAPP)
    events = [await planning.add_event({"users": ["u-1"]}, channels=channels) for _ in range(100)]
    if together:
        await planning.plan(*events)
    else:
        await asyncio.gather(*(planning.plan(event) for event in events))
    rows = [row for event in sorted(events) for row in await planning.rows(event)]
    mail = [row for row in rows if row["channel"] == "email"]
    assert sum(row["status"] == "queued" for row in mail) == 10
    assert {row["hold_reason"] for row in mail if row["status"] == "held"} == {"throttled"}
    assert all(row["status"] == "queued" for row in rows if row["channel"] == "inapp")
    taken = await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots")
    assert taken == 10
    if together:  # those with the lowest ids, which is the order of acceptance
        assert [row["status"] for row in mail] == ["queued"] * 10 + ["held"] * 90


async def test_two_planners_at_nine_of_ten_pass_one(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT)
    earlier = [await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,)) for _ in range(9)]
    await planning.plan(*earlier)
    last = [await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,)) for _ in range(2)]
    await asyncio.gather(*(planning.plan(event) for event in last))
    assert await planning.statuses(*last) == {"queued": 1, "held": 1}


async def test_what_is_held_is_due_when_a_slot_frees(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT | {"limit": 2})
    number = planning.world.people[0]
    await planning.owner.execute(
        """INSERT INTO carillon.limit_slots (tenant_id, subscriber, scope, channel, taken)
        VALUES ($1, $2, $3, 'email', ARRAY[now() - interval '2 h', now() - interval '50 min'])""",
        planning.world.tenant_id,
        number,
        f"type:{TYPE}",
    )
    events = [await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,)) for _ in range(5)]
    await planning.plan(*events)
    minutes = await planning.owner.fetch(
        """SELECT round(extract(epoch FROM u.due_at - now()) / 60)::int AS m, u.kind,
                  d.next_attempt_at = u.due_at AS same
        FROM carillon.due u JOIN carillon.deliveries d ON d.id = u.delivery_id ORDER BY u.delivery_id"""
    )
    # One slot was free. Next are the one taken 50 minutes ago, the one taken now, each again an hour later.
    assert [tuple(row) for row in minutes] == [
        (10, "hold", True),
        (60, "hold", True),
        (70, "hold", True),
        (120, "hold", True),
    ]


async def test_a_hold_does_not_outlast_the_event(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT | {"limit": 1})
    soon = datetime.now(UTC) + timedelta(minutes=5)
    events = [
        await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,), expires_at=soon)
        for _ in range(2)
    ]
    await planning.plan(*events)
    assert await planning.owner.fetchval("SELECT due_at FROM carillon.due") == soon


async def test_a_type_may_skip_what_exceeds_its_limit(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT | {"limit": 1, "on_exceed": "skip"})
    events = [await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,)) for _ in range(2)]
    await planning.plan(*events)
    assert await planning.decisions(events[0]) == {("u-1", Channel.EMAIL): None}
    assert await planning.decisions(events[1]) == {("u-1", Channel.EMAIL): Reason.THROTTLED}
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0


async def test_slots_taken_at_intake_are_not_taken_again(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT | {"limit": 1, "on_exceed": "reject"})
    events = [
        await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,), slots_taken=True)
        for _ in range(3)
    ]
    await planning.plan(*events)
    assert await planning.statuses(*events) == {"queued": 3}
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.limit_slots") == 0


async def test_those_who_are_skipped_anyway_take_no_slot(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT | {"limit": 1})
    await planning.owner.execute("UPDATE carillon.subscribers SET email = NULL WHERE id = 'u-1'")
    event = await planning.add_event({"users": ["u-1", "u-2"]}, channels=(Channel.EMAIL,))
    await planning.plan(event)
    slots = await planning.owner.fetch("SELECT subscriber FROM carillon.limit_slots")
    assert [row["subscriber"] for row in slots] == [planning.world.people[1]]


async def test_a_throttled_range_counts_like_a_small_event(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=20, range_size=10) as planning:
        await planning.add_type(throttle=_LIMIT | {"limit": 1})
        first, second = [
            await planning.add_event({"everyone": True}, channels=(Channel.EMAIL,)) for _ in range(2)
        ]
        for event in (first, second):
            for key, _ in await planning.store.cut(event):
                await planning.store.plan_range(key)
        assert await planning.statuses(first) == {"queued": 20}
        assert await planning.statuses(second) == {"held": 20}


async def test_slots_that_no_window_reaches_are_cleared_away_in_steps(planning: Planning) -> None:
    await planning.owner.execute(
        """INSERT INTO carillon.limit_slots (tenant_id, subscriber, scope, channel, taken)
        SELECT $1, n, 'type:x', c::carillon.channel,
               CASE n WHEN 3 THEN '{}' ELSE ARRAY[now() - interval '90 d', now() - n * interval '10 d'] END
        FROM unnest($2::bigint[]) WITH ORDINALITY AS p(number, n), unnest('{email,inapp}'::text[]) AS c""",
        planning.world.tenant_id,
        planning.world.people[:7],
    )
    house = Housekeeping(planning.dispatcher, duplicate_days=7, batch=4)
    assert [await house.clear_slots() for _ in range(4)] == [4, 4, 4, 2]
    kept = await planning.owner.fetch(
        "SELECT subscriber, channel::text FROM carillon.limit_slots ORDER BY 1, 2"
    )
    assert [tuple(row) for row in kept] == [(n, channel) for n in (1, 2) for channel in ("email", "inapp")]
    assert await house.clear_slots() == 4


async def test_a_slot_cleared_away_while_a_planner_waits_for_it_is_made_again(planning: Planning) -> None:
    await planning.add_type(throttle=_LIMIT)
    await planning.plan(await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,)))
    event = await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,))
    async with planning.owner.acquire() as clearing:
        async with clearing.transaction():
            await clearing.execute("SELECT FROM carillon.limit_slots FOR UPDATE")
            waiting = asyncio.create_task(planning.plan(event))
            await eventually(lambda: _is_blocking(clearing), seconds=20, what="the planner at the lock")
            await clearing.execute("DELETE FROM carillon.limit_slots")
        await waiting
    assert await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots") == 1


async def _is_blocking(connection: Connection) -> bool:
    """Tell whether another session waits for this one."""
    blocks = "pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {blocks})"))
