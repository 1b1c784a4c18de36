"""Planning on a real PostgreSQL: ids, ranges, repetition and races."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from carillon_dispatcher.planning.rows import Verdict
from carillon_shared.domain.channels import Channel
from carillon_shared.ids import delivery_id
from support.migrated import MigratedDatabase
from support.planning import Planning, planning_in
from support.waiting import eventually

_ALL = (Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=20) as made:
        yield made


async def test_ids_are_those_that_python_computes(planning: Planning) -> None:
    event = await planning.add_event({"everyone": True}, channels=_ALL)
    await planning.plan(event)
    expected = {delivery_id(event, number, channel) for number in planning.world.people for channel in _ALL}
    assert {row["id"] for row in await planning.rows(event)} == expected


async def test_planning_twice_adds_nothing(planning: Planning) -> None:
    event = await planning.add_event({"users": ["u-1", "u-2"]})
    assert await planning.plan(event) == [Verdict.PLANNED]
    before = await planning.rows(event)
    assert await planning.plan(event) == [Verdict.PUBLISH]
    await planning.store.mark_events_published([event])
    assert await planning.plan(event) == [Verdict.PUBLISHED]
    await planning.dispatcher.execute("SELECT carillon.insert_deliveries($1, 0, 4294967295)", [event])
    assert [dict(row) for row in await planning.rows(event)] == [dict(row) for row in before]


async def test_rows_that_are_missing_are_added_beside_those_that_are_there(planning: Planning) -> None:
    event = await planning.add_event({"users": ["u-1", "u-2"]})
    await planning.dispatcher.execute("SELECT carillon.insert_deliveries($1, $2, $3)", [event], 0, 1)
    assert len(await planning.rows(event)) == 1
    await planning.plan(event)
    assert len(await planning.rows(event)) == 2


async def test_an_id_that_belongs_to_another_event_is_an_error(planning: Planning) -> None:
    event = await planning.add_event({"users": ["u-1"]})
    other = await planning.add_event({"users": ["u-2"]})
    number = planning.world.people[0]
    await planning.world.add_deliveries(other, [number], Channel.INAPP)
    await planning.owner.execute(
        "UPDATE carillon.deliveries SET id = $1 WHERE event_id = $2",
        delivery_id(event, number, Channel.INAPP),
        other,
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await planning.plan(event)
    assert (await planning.event(event))["planned_at"] is None


async def test_two_planners_at_once_plan_once(planning: Planning) -> None:
    events = [await planning.add_event({"everyone": True}, channels=_ALL) for _ in range(10)]
    first, second = await asyncio.gather(planning.plan(*events), planning.plan(*reversed(events)))
    assert {*zip(first, reversed(second), strict=True)} <= {
        (Verdict.PLANNED, Verdict.PUBLISH),
        (Verdict.PUBLISH, Verdict.PLANNED),
    }
    assert await planning.statuses(*events) == {"queued": 10 * 20 * 3}


async def test_an_event_is_taken_from_the_relay_when_it_is_planned(planning: Planning) -> None:
    person = {"id": "new", "email": "new@example.org", "attributes": {"name": "Nora"}}
    event = await planning.add_event({"users": ["new"]}, inline=[person], channels=(Channel.EMAIL,))
    await planning.plan(event)
    row = await planning.event(event)
    assert (row["status"], row["owed_at"], row["inline_users"], row["ranges"]) == (
        "dispatching",
        None,
        None,
        1,
    )
    await planning.store.mark_events_published([event])
    row = await planning.event(event)
    assert row["status"] == "dispatched"
    assert row["published_at"] >= row["planned_at"]


async def test_inline_people_are_registered_and_updated(planning: Planning) -> None:
    first = {
        "id": "new",
        "email": "old@example.org",
        "locale": "mn-MN",
        "attributes": {"name": "Nora", "a": 1},
    }
    second = {"id": "new", "email": "new@example.org", "attributes": {"a": 2}}
    known = {"id": "u-1", "phone": "+97699112233"}
    events = [
        await planning.add_event({"users": ["new"]}, inline=[first]),
        await planning.add_event({"users": ["new", "u-1"]}, inline=[second, known]),
    ]
    await planning.plan(*events)
    people = {
        row["id"]: row
        for row in await planning.owner.fetch(
            "SELECT * FROM carillon.subscribers WHERE id = ANY ($1)", ["new", "u-1"]
        )
    }
    assert people["new"]["registered"]
    assert (people["new"]["email"], people["new"]["locale"]) == ("new@example.org", "mn-MN")
    assert people["new"]["attributes"] == {"a": 2}
    assert (people["u-1"]["email"], people["u-1"]["phone"]) == ("u-1@example.org", "+97699112233")


async def test_a_name_nobody_registered_uses_up_one_number_only(planning: Planning) -> None:
    for _ in range(5):
        await planning.plan(await planning.add_event({"users": ["stranger", "u-1"]}, inline=[{"id": "u-1"}]))
    numbers = await planning.owner.fetch("SELECT number FROM carillon.subscribers ORDER BY number")
    assert len(numbers) == 21
    (later,) = await planning.world.add_people(1, start=100)
    assert later == numbers[-1]["number"] + 1


async def test_cancelled_late_early_and_unknown_events_get_no_rows(planning: Planning) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    cancelled = await planning.add_event({"everyone": True})
    await planning.owner.execute(
        "UPDATE carillon.events SET status = 'cancelled', cancelled_at = now() WHERE id = $1", cancelled
    )
    late = await planning.add_event({"everyone": True}, expires_at=past)
    early = await planning.add_event({"everyone": True}, status="scheduled", deliver_at=soon)
    waiting = await planning.add_event({"everyone": True}, status="pending_approval")
    due = await planning.add_event({"users": ["u-1"]}, status="scheduled", deliver_at=past)
    events = [cancelled, late, early, waiting, due]
    assert await planning.plan(*events) == [
        Verdict.STOPPED,
        Verdict.EXPIRED,
        Verdict.EARLY,
        Verdict.STOPPED,
        Verdict.PLANNED,
    ]
    assert await planning.statuses(*events) == {"queued": 1}
    assert (await planning.event(late))["status"] == "expired"
    assert await planning.store.plan_events([delivery_id(due, 1, Channel.INAPP)]) == {}


async def test_a_cancel_waits_for_planning_and_then_stops_its_rows(planning: Planning) -> None:
    event = await planning.add_event({"everyone": True})
    async with planning.dispatcher.acquire() as connection:
        open_plan = connection.transaction()
        await open_plan.start()
        await connection.fetch("SELECT * FROM carillon.plan_events($1, 5000)", [event])
        cancel = asyncio.create_task(_cancel(planning, event))
        await eventually(lambda: _somebody_waits(planning), seconds=5, what="the cancel to wait")
        assert not cancel.done()
        await open_plan.commit()
        await cancel
    assert await planning.statuses(event) == {"cancelled": 20}


async def _cancel(planning: Planning, event: Any) -> None:
    async with planning.owner.acquire() as connection, connection.transaction():
        await connection.execute(
            "UPDATE carillon.events SET status = 'cancelled', cancelled_at = now() WHERE id = $1", event
        )
    await planning.owner.execute(
        "UPDATE carillon.deliveries SET status = 'cancelled', reason = 'cancelled' WHERE event_id = $1", event
    )


async def _somebody_waits(planning: Planning) -> bool:
    return bool(await planning.owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_medium_events_are_not_planned_all_in_one_transaction(migrated: MigratedDatabase) -> None:
    async with planning_in(migrated, people=4, range_size=4) as planning:
        medium = [await planning.add_event({"everyone": True}) for _ in range(3)]
        small = await planning.add_event({"users": ["u-1"]})
        verdicts = await planning.plan(*medium, small)
        assert verdicts[-1] is Verdict.PLANNED
        assert sorted(verdicts[:-1]) == [Verdict.LARGE, Verdict.LARGE, Verdict.PLANNED]
