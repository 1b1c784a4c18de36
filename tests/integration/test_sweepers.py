"""What sweepers rescue, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.planning.rows import Verdict
from carillon_dispatcher.sweepers.completion import Completion
from carillon_dispatcher.sweepers.due import DueDeliveries, after_overdue, after_unknown
from carillon_dispatcher.sweepers.expiry import Expiry
from carillon_dispatcher.sweepers.leases import ExpiredLeases
from carillon_dispatcher.sweepers.open_events import OpenEvents
from carillon_dispatcher.sweepers.ranges import StalledRanges
from carillon_shared.contracts.messages import DeadDelivery, RangePlanned
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in

_EMAIL = (Channel.EMAIL,)
_TOKEN = 77


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=10, range_size=5) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


async def _planned(planning: Planning, *users: str, channels: tuple[Channel, ...] = _EMAIL) -> UUID:
    """Return an event that is dispatched to these people."""
    event = await planning.add_event({"users": list(users)}, channels=channels)
    assert await planning.plan(event) == [Verdict.PLANNED]
    await planning.store.mark_events_published([event])
    return event


async def _set(planning: Planning, event: UUID, assignments: str, *values: Any) -> None:
    await planning.owner.execute(
        f"UPDATE carillon.deliveries SET {assignments} WHERE event_id = $1", event, *values
    )


async def _lease(planning: Planning, event: UUID, *, until: str) -> None:
    """Lease all of an event's deliveries, for a first attempt that began a minute ago."""
    await _set(
        planning,
        event,
        "status = 'sending', attempt = 1, lease_token = 77, first_attempt_at = now() - interval '1 min', "
        "updated_at = now() - interval '1 min'",
    )
    await planning.owner.execute(
        f"""INSERT INTO carillon.leases (token, until, holder, delivery_ids)
        SELECT $2, now() + interval '{until}', 'gone', array_agg(id)
        FROM carillon.deliveries WHERE event_id = $1""",
        event,
        _TOKEN,
    )


async def test_an_expired_lease_leaves_its_deliveries_in_doubt(planning: Planning) -> None:
    event = await _planned(planning, "u-1", "u-2", "u-3")
    await _lease(planning, event, until="-1 s")
    settled = (await planning.rows(event))[2]["id"]
    await planning.owner.execute("UPDATE carillon.deliveries SET status = 'sent' WHERE id = $1", settled)
    assert await ExpiredLeases(planning.dispatcher, batch=10).expire() == 1
    rows = await planning.rows(event)
    assert [row["status"] for row in rows] == ["unknown", "unknown", "sent"]
    assert {(row["attempt"], row["unknowns"], row["lease_token"]) for row in rows[:2]} == {(1, 1, _TOKEN)}
    attempts = await planning.owner.fetch("SELECT * FROM carillon.attempts ORDER BY delivery_id")
    assert [(row["delivery_id"], row["number"], row["outcome"], row["ended_at"]) for row in attempts] == [
        (row["id"], 1, "unknown", None) for row in rows[:2]
    ]
    due = await planning.owner.fetch(
        "SELECT delivery_id, kind, due_at - now() AS wait FROM carillon.due ORDER BY delivery_id"
    )
    assert [(row["delivery_id"], row["kind"]) for row in due] == [(row["id"], "unknown") for row in rows[:2]]
    assert all(-5 < row["wait"].total_seconds() <= 0 for row in due)  # the doubt began then
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.leases") == 0


async def test_a_lease_that_holds_is_left_alone(planning: Planning) -> None:
    event = await _planned(planning, "u-1")
    await _lease(planning, event, until="1 s")
    assert await ExpiredLeases(planning.dispatcher, batch=10).expire() == 0
    assert await planning.statuses(event) == {"sending": 1}


async def _in_doubt(planning: Planning, *users: str, assignments: str = "") -> UUID:
    event = await _planned(planning, *users)
    await _lease(planning, event, until="-1 s")
    await ExpiredLeases(planning.dispatcher, batch=10).expire()
    if assignments:
        await _set(planning, event, assignments)
    return event


def _unknown(planning: Planning, publisher: RecordingPublisher, *, grace: float = 0.0) -> DueDeliveries:
    pool = planning.dispatcher
    return DueDeliveries(
        pool, publisher, kind="unknown", what="unknown", rule=after_unknown, batch=100, grace=grace
    )


async def test_at_least_once_tries_again_after_the_grace(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    event = await _in_doubt(planning, "u-1", "u-2")
    assert await _unknown(planning, publisher).bring_on() == 2
    assert await planning.statuses(event) == {"retrying": 2}
    (chunk,) = publisher.chunks()
    assert (chunk.attempt, chunk.isolated, len(chunk.delivery_ids)) == (2, False, 2)
    # Should the message be lost, the retry is overdue five minutes later.
    due = await planning.owner.fetch("SELECT kind, due_at - now() AS wait FROM carillon.due")
    assert [row["kind"] for row in due] == ["retry", "retry"]
    assert all(290 < row["wait"].total_seconds() <= 300 for row in due)
    assert await _unknown(planning, publisher).bring_on() == 0


async def test_within_the_grace_nothing_is_decided(planning: Planning, publisher: RecordingPublisher) -> None:
    event = await _in_doubt(planning, "u-1")
    assert await _unknown(planning, publisher, grace=60).bring_on() == 0
    assert await planning.statuses(event) == {"unknown": 1}
    await planning.owner.execute("UPDATE carillon.due SET due_at = now() - interval '61 s'")
    assert await _unknown(planning, publisher, grace=60).bring_on() == 1
    assert await planning.statuses(event) == {"retrying": 1}


async def test_twice_in_doubt_goes_alone(planning: Planning, publisher: RecordingPublisher) -> None:
    await _in_doubt(planning, "u-1", "u-2", assignments="unknowns = 2")
    await _unknown(planning, publisher).bring_on()
    assert [(len(chunk.delivery_ids), chunk.isolated) for chunk in publisher.chunks()] == [
        (1, True),
        (1, True),
    ]


async def test_at_most_once_ends_in_the_dead_letters(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    await planning.add_type(on_unknown="at_most_once")
    event = await _in_doubt(planning, "u-1")
    await _unknown(planning, publisher).bring_on()
    assert await planning.statuses(event) == {"dead": 1}
    (row,) = await planning.owner.fetch("SELECT * FROM carillon.dead_letters")
    assert (row["reason"], row["attempt"], row["code"]) == ("outcome_unknown", 1, "worker_lost")
    (outgoing,) = publisher.published
    assert isinstance(outgoing.message, DeadDelivery)
    assert (outgoing.exchange, outgoing.routing_key) == ("carillon.dead", "email.normal")
    assert outgoing.message.reason == "outcome_unknown"
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0


async def test_doubt_without_end_uses_up_the_attempts(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    await planning.add_type(retry={"email": {"max_attempts": 3}})
    event = await _in_doubt(planning, "u-1", "u-2", assignments="attempt = 3")
    await planning.owner.execute(
        "UPDATE carillon.deliveries SET budget_start = 2 WHERE id = $1", (await planning.rows(event))[1]["id"]
    )
    await _unknown(planning, publisher).bring_on()
    rows = await planning.rows(event)
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("dead", "retries_exhausted"),
        ("retrying", None),
    ]


@pytest.mark.parametrize(
    ("assignments", "status"),
    [("status = 'cancelled', cancelled_at = now()", "cancelled"), ("expires_at = now()", "expired")],
)
async def test_what_is_over_is_not_tried_again(
    planning: Planning, publisher: RecordingPublisher, assignments: str, status: str
) -> None:
    doubtful = await _in_doubt(planning, "u-1")
    overdue = await _planned(planning, "u-2")
    await _set(planning, overdue, "status = 'retrying', attempt = 1, next_attempt_at = now()")
    await planning.owner.execute(
        """INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT id, now(), 'retry' FROM carillon.deliveries WHERE event_id = $1""",
        overdue,
    )
    await planning.owner.execute(f"UPDATE carillon.events SET {assignments}")
    await _unknown(planning, publisher).bring_on()
    await _overdue(planning, publisher).bring_on()
    assert await planning.statuses(doubtful, overdue) == {status: 2}
    assert publisher.published == []
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0


async def test_a_late_answer_wins_over_the_rule(planning: Planning, publisher: RecordingPublisher) -> None:
    event = await _in_doubt(planning, "u-1", assignments="status = 'sent'")
    assert await _unknown(planning, publisher).bring_on() == 1
    assert await planning.statuses(event) == {"sent": 1}
    assert publisher.published == []
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0


def _overdue(planning: Planning, publisher: RecordingPublisher) -> DueDeliveries:
    return DueDeliveries(
        planning.dispatcher, publisher, kind="retry", what="retrying", rule=after_overdue, batch=100
    )


async def test_an_overdue_retry_is_sent_again_ever_more_rarely(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    event = await _planned(planning, "u-1")
    await _set(
        planning, event, "status = 'retrying', attempt = 2, next_attempt_at = now() - interval '20 min'"
    )
    await planning.owner.execute(
        """INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT id, now() - interval '1 s', 'retry' FROM carillon.deliveries"""
    )
    assert await _overdue(planning, publisher).bring_on() == 1
    (chunk,) = publisher.chunks()
    assert chunk.attempt == 3
    assert await planning.statuses(event) == {"retrying": 1}
    wait = await planning.owner.fetchval("SELECT due_at - now() FROM carillon.due")
    assert 19 < wait.total_seconds() / 60 <= 20.1
    assert await _overdue(planning, publisher).bring_on() == 0


async def test_an_event_is_completed_when_nothing_of_it_is_on_its_way(planning: Planning) -> None:
    completion = Completion(planning.dispatcher, planning.store, OpenEvents(page=100))
    event = await _planned(planning, "u-1", "u-2", "u-3")
    nobody = await _planned(planning, "stranger")
    assert await completion.sweep() == 1
    assert (await planning.event(nobody))["status"] == "completed"
    first, second, third = [row["id"] for row in await planning.rows(event)]
    settle = "UPDATE carillon.deliveries SET status = $2, reason = 'retries_exhausted' WHERE id = $1"
    await planning.owner.execute(settle, first, "sent")
    await planning.owner.execute(settle, second, "sent")
    assert await completion.sweep() == 0
    # An earlier one is replayed while the last one settles.
    await planning.owner.execute(settle, first, "queued")
    await planning.owner.execute(settle, third, "dead")
    assert await completion.sweep() == 0
    await planning.owner.execute(settle, first, "sent")
    assert await completion.sweep() == 1
    assert (await planning.event(event))["status"] == "completed"


async def test_a_fan_out_whose_last_step_was_lost_is_finished_and_tidied(planning: Planning) -> None:
    completion = Completion(planning.dispatcher, planning.store, OpenEvents(page=100))
    event = await planning.add_event({"everyone": True})
    for key, _ in await planning.store.cut(event):
        await planning.store.plan_range(key)
    await planning.owner.execute("UPDATE carillon.fanout_ranges SET published_at = now()")
    await completion.sweep()
    assert (await planning.event(event))["status"] == "dispatched"
    await _set(planning, event, "status = 'delivered'")
    assert await completion.sweep() == 1
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.fanout_ranges") == 0


async def test_what_has_not_begun_expires_with_its_event(planning: Planning) -> None:
    event = await _planned(planning, "u-1", "u-2", "u-3", "u-4")
    fine = await _planned(planning, "u-1")
    rows = await planning.rows(event)
    for row, status in zip(rows, ("queued", "retrying", "sending", "sent"), strict=True):
        await planning.owner.execute(
            """UPDATE carillon.deliveries SET status = $2, next_attempt_at = now(), lease_token = 1
            WHERE id = $1""",
            row["id"],
            status,
        )
    await planning.owner.execute("UPDATE carillon.events SET expires_at = now() WHERE id = $1", event)
    expiry = Expiry(planning.dispatcher, batch=10)
    assert await expiry.sweep() == 1
    assert [row["status"] for row in await planning.rows(event)] == ["expired", "expired", "sending", "sent"]
    assert (await planning.event(event))["status"] == "dispatched"
    assert await planning.statuses(fine) == {"queued": 1}
    assert await expiry.sweep() == 0


async def test_ranges_that_stand_still_are_sent_again(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    stalled = StalledRanges(planning.dispatcher, publisher, seconds=30, batch=10)
    event = await planning.add_event({"everyone": True})
    first, second = [key for key, _ in await planning.store.cut(event)]
    await planning.store.mark_ranges_sent([first, second])
    await planning.store.plan_range(first)
    assert await stalled.rescue() == 0
    await planning.owner.execute(
        """UPDATE carillon.fanout_ranges
        SET sent_at = now() - interval '31 s', planned_at = planned_at - interval '31 s'"""
    )
    assert await stalled.rescue() == 2
    assert {
        (one.message.event_id, one.message.n)
        for one in publisher.published
        if isinstance(one.message, RangePlanned)
    } == {(event, 0), (event, 1)}
    assert await stalled.rescue() == 0


async def test_ranges_that_wait_behind_others_are_left_alone(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    stalled = StalledRanges(planning.dispatcher, publisher, seconds=30, batch=10)
    event = await planning.add_event({"everyone": True})
    first = (await planning.store.cut(event))[0][0]
    await planning.store.plan_range(first)
    await planning.store.mark_ranges_published([first])
    await planning.owner.execute("UPDATE carillon.fanout_ranges SET sent_at = now() - interval '31 s'")
    assert await stalled.rescue() == 0  # their lane moves
    await planning.owner.execute(
        "UPDATE carillon.fanout_ranges SET published_at = now() - interval '31 s' WHERE n = 0"
    )
    await planning.store.fail(event, "cannot be planned")
    assert await stalled.rescue() == 0  # a person looks at it
    await planning.owner.execute("UPDATE carillon.events SET plan_error = NULL")
    assert await stalled.rescue() == 1


async def test_a_small_event_that_was_planned_and_never_published_is_owed_again(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"users": ["u-1"]})
    await planning.plan(event)
    stalled = StalledRanges(planning.dispatcher, publisher, seconds=30, batch=10)
    await stalled.rescue()
    assert (await planning.event(event))["owed_at"] is None
    await planning.owner.execute("UPDATE carillon.events SET planned_at = now() - interval '31 s'")
    await stalled.rescue()
    assert (await planning.event(event))["owed_at"] is not None
