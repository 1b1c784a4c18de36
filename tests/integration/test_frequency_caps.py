"""How much a person gets of all types together, and what becomes of the rest, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_people import end_quiet_hours, give_quiet_hours, make_due

_CAP = {"limit": 2, "per_seconds": 3600, "channels": ["email"]}
_MAIL = (Channel.EMAIL,)


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=2) as made:
        await _set_caps(made, default=_CAP)
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def holds(planning: Planning, publisher: RecordingPublisher) -> DueHolds:
    return DueHolds(planning.dispatcher, publisher, batch=100)


async def _set_caps(planning: Planning, **caps: Any) -> None:
    await planning.owner.execute("UPDATE carillon.tenants SET frequency_caps = $1", caps)


async def _send(
    planning: Planning, *, category: str = "tickets", kind: str | None = None, **given: Any
) -> UUID:
    event = await planning.add_event({"users": ["u-1"]}, **({"channels": _MAIL} | given))
    await planning.owner.execute(
        "UPDATE carillon.events SET category = $2, type = coalesce($3, type) WHERE id = $1",
        event,
        category,
        kind,
    )
    await planning.plan(event)
    await planning.store.mark_events_published([event])
    return event


async def _states(planning: Planning, *events: UUID) -> list[str]:
    return [row["status"] for event in events for row in await planning.rows(event)]


async def _taken(planning: Planning) -> dict[str, int]:
    rows = await planning.owner.fetch("SELECT scope, cardinality(taken) AS n FROM carillon.limit_slots")
    return {row["scope"]: row["n"] for row in rows}


async def _let_an_hour_pass(planning: Planning) -> None:
    await planning.owner.execute(
        "UPDATE carillon.limit_slots SET taken = ARRAY(SELECT t - interval '1 h' FROM unnest(taken) AS t)"
    )
    await make_due(planning)


async def test_the_third_of_three_types_is_gathered(planning: Planning) -> None:
    events = [await _send(planning, kind=f"type.{n}") for n in range(4)]
    assert await _states(planning, *events) == ["queued", "queued", "held", "held"]
    (row,) = await planning.rows(events[3])
    assert (row["hold_reason"], row["reason"]) == ("digest", "frequency_cap")
    digest = await planning.owner.fetchrow(
        "SELECT kind, key, closes_at - now() AS wait FROM carillon.digests"
    )
    assert digest is not None
    assert (digest["kind"], digest["key"]) == ("frequency_cap", "cap:")
    assert timedelta(minutes=59) < digest["wait"] <= timedelta(hours=1)


async def test_a_hundred_at_once_pass_no_more_than_the_cap(planning: Planning) -> None:
    events = [await planning.add_event({"users": ["u-1"]}, channels=_MAIL) for _ in range(60)]
    await asyncio.gather(*(planning.plan(*events[n : n + 20]) for n in range(0, 60, 20)))
    assert await planning.statuses(*events) == {"queued": 2, "held": 58}
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.digests") == 1
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.digest_members") == 58


async def test_ranges_and_small_events_at_once_pass_no_more_than_the_cap(planning: Planning) -> None:
    await planning.add_type(throttle={"limit": 5, "per_seconds": 60, "channels": ["email"]})
    events = [await planning.add_event({"everyone": True}, channels=_MAIL) for _ in range(16)]
    keys = [key for event in events[:8] for key, _ in await planning.store.cut(event)]
    await asyncio.gather(
        *(planning.store.plan_range(key) for key in keys),
        *(planning.plan(*events[n : n + 2]) for n in range(8, 16, 2)),
    )
    for place in range(2):
        rows = [(await planning.rows(event))[place] for event in events]
        assert [row["status"] for row in rows].count("queued") == 2
        assert [row["reason"] for row in rows].count(
            "frequency_cap"
        ) == 3  # the others wait for their throttle
    assert await _taken(planning) == {"type:ticket.changed": 5, "cap:": 2}


async def test_what_was_gathered_is_one_message_and_takes_one_slot(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    events = [await _send(planning) for _ in range(5)]
    assert await holds.release() == 0
    await _let_an_hour_pass(planning)
    assert await holds.release() == 1
    assert len(publisher.delivery_ids()) == 1
    assert await _states(planning, *events[2:]) == ["held"] * 3
    assert await _taken(planning) == {"cap:": 1}
    assert await _states(planning, await _send(planning), await _send(planning)) == ["queued", "held"]


async def test_a_single_one_is_sent_as_it_is(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    events = [await _send(planning) for _ in range(3)]
    await _let_an_hour_pass(planning)
    assert await holds.release() == 1
    assert await _states(planning, *events) == ["queued"] * 3
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.deliveries WHERE carrier") == 0
    assert await _taken(planning) == {"cap:": 1}
    (row,) = await planning.rows(events[2])
    assert publisher.delivery_ids() == [row["id"]]
    assert row["reason"] is None


async def test_a_slot_that_somebody_else_took_means_waiting_on(planning: Planning, holds: DueHolds) -> None:
    await _send(planning), await _send(planning)
    gathered = [await _send(planning), await _send(planning)]
    await make_due(planning)  # too early: both slots are taken
    assert await holds.release() == 0
    assert await _states(planning, *gathered) == ["held", "held"]
    wait = await planning.owner.fetchval(
        "SELECT closes_at - now() FROM carillon.digests WHERE closed_at IS NULL"
    )
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)


async def test_what_is_over_meanwhile_takes_no_slot(planning: Planning, holds: DueHolds) -> None:
    events = [await _send(planning) for _ in range(4)]
    await _let_an_hour_pass(planning)
    await planning.owner.execute("UPDATE carillon.events SET expires_at = now()")
    assert await holds.release() == 0
    assert await _states(planning, *events[2:]) == ["expired"] * 2
    await planning.owner.execute("UPDATE carillon.events SET expires_at = NULL")
    assert await _states(planning, await _send(planning), await _send(planning)) == ["queued", "queued"]


async def test_a_category_has_a_cap_of_its_own_or_none(planning: Planning) -> None:
    await _set_caps(planning, default=_CAP, categories={"news": _CAP | {"limit": 1}, "security": None})
    for category, expected in (
        ("tickets", ["queued", "queued", "held"]),
        ("news", ["queued", "held", "held"]),
        ("security", ["queued"] * 3),
    ):
        events = [await _send(planning, category=category) for _ in range(3)]
        assert await _states(planning, *events) == expected
    assert await _taken(planning) == {"cap:": 2, "cap:news": 1}


@pytest.mark.parametrize("exempt", ["urgent", "mandatory", "the type says so", "another channel"])
async def test_what_the_cap_does_not_count(planning: Planning, exempt: str) -> None:
    await planning.add_type(mandatory=exempt == "mandatory", frequency_cap=exempt != "the type says so")
    lane = Lane.CRITICAL if exempt == "urgent" else Lane.NORMAL
    channels = (Channel.WHATSAPP,) if exempt == "another channel" else _MAIL
    events = [await _send(planning, lane=lane, channels=channels) for _ in range(3)]
    assert await _states(planning, *events) == ["queued"] * 3
    assert await _taken(planning) == {}


async def test_the_throttle_of_the_type_is_asked_first(planning: Planning) -> None:
    await planning.add_type(throttle={"limit": 1, "per_seconds": 60, "channels": ["email"]})
    events = [await _send(planning) for _ in range(2)]
    rows = [row for event in events for row in await planning.rows(event)]
    assert [row["hold_reason"] for row in rows] == [None, "throttled"]
    assert await _taken(planning) == {"type:ticket.changed": 1, "cap:": 1}


async def test_what_the_throttle_releases_meets_the_cap(planning: Planning, holds: DueHolds) -> None:
    await planning.add_type(throttle={"limit": 1, "per_seconds": 60, "channels": ["email"]})
    events = [await _send(planning) for _ in range(2)]
    await _send(planning, kind="other")
    await planning.owner.execute("UPDATE carillon.limit_slots SET taken = '{}' WHERE scope LIKE 'type:%'")
    await make_due(planning)
    assert await holds.release() == 0
    (row,) = await planning.rows(events[1])
    assert (row["status"], row["hold_reason"], row["reason"]) == ("held", "digest", "frequency_cap")
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0


async def test_the_digest_of_a_type_waits_for_a_slot_and_takes_it(
    planning: Planning, holds: DueHolds
) -> None:
    await planning.add_type(digest={"key": [], "window": "fixed", "seconds": 60, "channels": ["email"]})
    gathered = [await _send(planning) for _ in range(2)]
    assert await _taken(planning) == {}
    for _ in range(2):
        await _send(planning, kind="other")
    await make_due(planning)
    assert await holds.release() == 0
    await _let_an_hour_pass(planning)
    assert await holds.release() == 1
    assert await _states(planning, *gathered) == ["held"] * 2
    assert await _taken(planning) == {"cap:": 1}


async def test_a_window_in_which_nothing_more_came_stands_before_nobody(
    planning: Planning, holds: DueHolds
) -> None:
    await _set_caps(planning, default=_CAP | {"limit": 1})
    digest = {"key": [], "window": "fixed", "seconds": 60, "first_at_once": True, "channels": ["email"]}
    await planning.add_type(digest=digest)
    events = [await _send(planning), await _send(planning, kind="other")]
    assert await _states(planning, *events) == ["queued", "held"]
    await _let_an_hour_pass(planning)
    assert await holds.release() == 1
    assert await _states(planning, *events) == ["queued", "queued"]


async def test_who_has_quiet_hours_uses_up_nothing_until_the_morning(
    planning: Planning, holds: DueHolds
) -> None:
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning)
    assert await _taken(planning) == {}
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert await _states(planning, event) == ["queued"]
    assert await _taken(planning) == {"cap:": 1}
