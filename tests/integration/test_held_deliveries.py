"""Deliveries that were held, released by the sweeper on a real PostgreSQL."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.domain.channels import Channel
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in

_LIMIT = {"limit": 2, "per_seconds": 3600, "channels": ["email"], "on_exceed": "hold"}


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=3) as made:
        await made.add_type(throttle=_LIMIT)
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def holds(planning: Planning, publisher: RecordingPublisher) -> DueHolds:
    return DueHolds(planning.dispatcher, publisher, batch=100)


async def _send(planning: Planning, how_many: int) -> list[UUID]:
    """Plan so many mails to one person; returns those that are held."""
    events = [
        await planning.add_event({"users": ["u-1"]}, channels=(Channel.EMAIL,)) for _ in range(how_many)
    ]
    await planning.plan(*events)
    await planning.store.mark_events_published(events)
    rows = await planning.owner.fetch("SELECT id FROM carillon.deliveries WHERE status = 'held' ORDER BY id")
    return [row["id"] for row in rows]


async def _let_an_hour_pass(planning: Planning) -> None:
    await planning.owner.execute("UPDATE carillon.due SET due_at = due_at - interval '1 h'")
    await planning.owner.execute(
        "UPDATE carillon.limit_slots SET taken = ARRAY(SELECT t - interval '1 h' FROM unnest(taken) AS t)"
    )


async def _states(planning: Planning, ids: list[UUID]) -> list[tuple[str, str | None]]:
    rows = await planning.owner.fetch(
        "SELECT status, reason FROM carillon.deliveries WHERE id = ANY ($1) ORDER BY id", ids
    )
    return [(row["status"], row["reason"]) for row in rows]


async def test_what_is_not_due_stays_held(planning: Planning, holds: DueHolds) -> None:
    held = await _send(planning, 3)
    assert await holds.release() == 0
    assert await _states(planning, held) == [("held", None)]


async def test_free_slots_are_taken_in_order_and_the_rest_waits_on(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    held = await _send(planning, 7)
    assert len(held) == 5
    await _let_an_hour_pass(planning)
    assert await holds.release() == 2
    assert await _states(planning, held) == [("queued", None)] * 2 + [("held", None)] * 3
    assert sorted(publisher.delivery_ids()) == held[:2]
    assert {chunk.attempt for chunk in publisher.chunks()} == {1}
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 3
    assert await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots") == 2


async def test_a_slot_that_somebody_else_took_means_waiting_on(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    held = await _send(planning, 3)
    await planning.owner.execute("UPDATE carillon.due SET due_at = now()")  # too early: both slots are taken
    assert await holds.release() == 0
    assert await _states(planning, held) == [("held", None)]
    wait = await planning.owner.fetchval("SELECT due_at - now() FROM carillon.due")
    assert 3590 < wait.total_seconds() <= 3600
    assert publisher.published == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE carillon.events SET status = 'cancelled', cancelled_at = now()", ("cancelled", "cancelled")),
        ("UPDATE carillon.events SET expires_at = now()", ("expired", "expired")),
        ("UPDATE carillon.subscribers SET email = NULL", ("skipped", "no_address")),
        ("UPDATE carillon.tenants SET disabled_channels = '{email}'", ("skipped", "channel_disabled")),
        (
            """UPDATE carillon.tenants SET preferences = '{"all": {"email": false}}'""",
            ("skipped", "opted_out"),
        ),
    ],
)
async def test_the_rules_apply_again(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, change: str, expected: tuple[str, str]
) -> None:
    held = await _send(planning, 3)
    await _let_an_hour_pass(planning)
    await planning.owner.execute(change)
    await holds.release()
    assert await _states(planning, held) == [expected]
    assert publisher.published == []
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0
    row = await planning.owner.fetchrow("SELECT hold_reason FROM carillon.deliveries WHERE id = $1", held[0])
    assert row is not None
    assert row["hold_reason"] is None


async def test_what_could_not_be_published_is_published_a_minute_later(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    held = await _send(planning, 3)
    await _let_an_hour_pass(planning)
    publisher.away = True
    await holds.release()
    assert await _states(planning, held) == [("queued", None)]
    publisher.away = False
    assert await holds.release() == 0
    await planning.owner.execute("UPDATE carillon.due SET due_at = due_at - interval '1 min'")
    assert await holds.release() == 1
    assert publisher.delivery_ids() == held
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0
    assert await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots") == 1


async def test_a_hold_by_the_provider_takes_no_second_slot(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    await _send(planning, 2)
    await planning.owner.execute(
        """UPDATE carillon.deliveries
        SET status = 'held', hold_reason = 'throttled', attempt = 0, first_attempt_at = now()"""
    )
    await planning.owner.execute(
        """INSERT INTO carillon.due (delivery_id, due_at, kind)
        SELECT id, now(), 'hold' FROM carillon.deliveries"""
    )
    assert await holds.release() == 2
    assert len(publisher.delivery_ids()) == 2
    assert await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots") == 2


async def test_a_row_that_was_held_anew_meanwhile_stays_due(planning: Planning) -> None:
    class HeldAnew(RecordingPublisher):
        async def publish_many(self, outgoings):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as its base
            await planning.owner.execute("UPDATE carillon.due SET due_at = now() + interval '9 min'")
            return await super().publish_many(outgoings)

    await _send(planning, 3)
    await _let_an_hour_pass(planning)
    assert await DueHolds(planning.dispatcher, HeldAnew(), batch=10).release() == 1
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 1
