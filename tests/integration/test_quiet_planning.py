"""What quiet hours do to deliveries: when they are planned, released, and taken by a worker."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_people import end_quiet_hours, give_quiet_hours, make_due

_ALL = (Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)
_SENT = ("queued", None, None)
_HELD = ("held", "quiet_hours", None)


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=3) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def holds(planning: Planning, publisher: RecordingPublisher) -> DueHolds:
    return DueHolds(planning.dispatcher, publisher, batch=100)


async def _send(planning: Planning, **given: Any) -> UUID:
    event = await planning.add_event({"users": ["u-1"]}, **({"channels": _ALL} | given))
    await planning.plan(event)
    await planning.store.mark_events_published([event])
    return event


async def _decided(planning: Planning, event: UUID) -> dict[str, tuple[str, str | None, str | None]]:
    return {
        row["channel"]: (row["status"], row["hold_reason"], row["reason"])
        for row in await planning.rows(event)
    }


async def _due(planning: Planning) -> int:
    return int(await planning.owner.fetchval("SELECT count(*) FROM carillon.due"))


async def test_the_feed_shows_at_once_and_the_rest_waits_until_the_end(planning: Planning) -> None:
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning)
    assert await _decided(planning, event) == {"inapp": _SENT, "email": _HELD, "whatsapp": _HELD}
    digests = await planning.owner.fetch("SELECT closes_at FROM carillon.digests")
    end = datetime.now(UTC) + timedelta(hours=2)
    assert {row["closes_at"] for row in digests} == {end.replace(second=0, microsecond=0)}
    assert len(digests) == 2


async def test_only_those_who_have_them_now_are_left_in_peace(planning: Planning) -> None:
    await give_quiet_hours(planning, "u-2")
    event = await planning.add_event({"everyone": True}, channels=(Channel.EMAIL,))
    await planning.plan(event)
    states = [row["status"] for row in await planning.rows(event)]
    assert states == ["queued", "held", "queued"]


@pytest.mark.parametrize(
    ("rule", "lane", "expected"),
    [
        ("hold", Lane.NORMAL, _HELD),
        (None, Lane.BULK, _HELD),
        ("hold", Lane.CRITICAL, _SENT),
        ("skip", Lane.CRITICAL, _SENT),
        ("pass", Lane.NORMAL, _SENT),
        ("skip", Lane.NORMAL, ("skipped", None, "quiet_hours")),
    ],
)
async def test_the_type_and_the_lane_say_what_quiet_hours_do(
    planning: Planning, rule: str | None, lane: Lane, expected: tuple[str, str | None, str | None]
) -> None:
    await planning.add_type(quiet_hours=rule)
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, lane=lane)
    assert await _decided(planning, event) == {"inapp": _SENT, "email": expected, "whatsapp": expected}


async def test_what_is_mandatory_waits_as_well(planning: Planning) -> None:
    await planning.add_type(mandatory=True)
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, channels=(Channel.EMAIL,))
    assert await _decided(planning, event) == {"email": _HELD}


@pytest.mark.parametrize(
    ("own", "person", "tenant"),
    [("Asia/Kolkata", "UTC", "UTC"), (None, "Asia/Kolkata", "UTC"), (None, None, "Asia/Kolkata")],
)
async def test_the_clock_is_that_of_the_hours_the_person_or_the_tenant(
    planning: Planning, own: str | None, person: str | None, tenant: str
) -> None:
    now = datetime.now(UTC) + timedelta(hours=5, minutes=30)  # as it is in India
    start, end = f"{now - timedelta(minutes=5):%H:%M}", f"{now + timedelta(minutes=5):%H:%M}"
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    hours = {"windows": [{"from": start, "to": end, "days": days}], "time_zone": own}
    await give_quiet_hours(planning, "u-1", hours=hours)
    await planning.owner.execute("UPDATE carillon.subscribers SET time_zone = $1", person)
    await planning.owner.execute("UPDATE carillon.tenants SET default_time_zone = $1", tenant)
    event = await _send(planning, channels=(Channel.EMAIL,))
    assert await _decided(planning, event) == {"email": _HELD}


async def test_who_waits_for_the_morning_takes_a_slot_of_a_limit_then(
    planning: Planning, holds: DueHolds
) -> None:
    await planning.add_type(throttle={"limit": 1, "per_seconds": 3600, "channels": ["email"]})
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, channels=(Channel.EMAIL,))
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.limit_slots") == 0
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert await _decided(planning, event) == {"email": _SENT}
    assert await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots") == 1


async def test_all_is_released_when_they_end(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning)
    assert await holds.release() == 0
    await end_quiet_hours(planning)
    assert await holds.release() == 2
    assert await _decided(planning, event) == dict.fromkeys(("inapp", "email", "whatsapp"), _SENT)
    assert len(publisher.delivery_ids()) == 2
    assert await _due(planning) == 0


async def test_somebody_who_prolongs_them_is_left_in_peace(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, channels=(Channel.EMAIL,))
    await make_due(planning)
    assert await holds.release() == 0
    assert await _decided(planning, event) == {"email": _HELD}
    wait = await planning.owner.fetchval("SELECT closes_at - now() FROM carillon.digests")
    assert timedelta(minutes=118) < wait < timedelta(minutes=121)
    assert publisher.published == []


_ITEM = """
    INSERT INTO carillon.feed_items (id, tenant_id, subscriber, event_id, seq, attention_seq, type, category,
        priority, title, body, data{columns})
    SELECT d.id, d.tenant_id, d.subscriber, d.event_id, 1, 1, 'x', 'x', 'normal', '', '', '{{}}'{values}
    FROM carillon.deliveries d WHERE d.channel = 'inapp'
"""
_FEED = """
    INSERT INTO carillon.feeds (tenant_id, subscriber, seq, read_all_seq)
    SELECT tenant_id, subscriber, 1, {} FROM carillon.deliveries WHERE channel = 'inapp'
"""


@pytest.mark.parametrize(
    ("column", "read_all", "mandatory", "expected"),
    [
        (None, 0, False, _SENT),
        ("read_at", 0, False, ("skipped", None, "already_read")),
        ("deleted_at", 0, False, ("skipped", None, "already_read")),
        (None, 1, False, ("skipped", None, "already_read")),
        ("read_at", 0, True, _SENT),
    ],
)
async def test_what_was_read_in_the_feed_meanwhile_is_not_sent(
    planning: Planning,
    holds: DueHolds,
    column: str | None,
    read_all: int,
    *,
    mandatory: bool,
    expected: tuple[str, str | None, str | None],
) -> None:
    await planning.add_type(mandatory=mandatory)
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, channels=(Channel.INAPP, Channel.EMAIL))
    await planning.owner.execute(
        _ITEM.format(columns=f", {column}" if column else "", values=", now()" if column else "")
    )
    await planning.owner.execute(_FEED.format(read_all))
    await end_quiet_hours(planning)
    await holds.release()
    assert (await _decided(planning, event))["email"] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE carillon.events SET expires_at = now()", ("expired", None, "expired")),
        (
            "UPDATE carillon.events SET status = 'cancelled', cancelled_at = now()",
            ("cancelled", None, "cancelled"),
        ),
        (
            """UPDATE carillon.preferences SET document = document || '{"all": {"email": false}}'""",
            ("skipped", None, "opted_out"),
        ),
        ("UPDATE carillon.subscribers SET email = NULL", ("skipped", None, "no_address")),
        (
            "UPDATE carillon.event_types SET quiet_hours = 'skip'",
            _SENT,
        ),
    ],
)
async def test_the_rules_apply_again_at_their_end(
    planning: Planning, holds: DueHolds, change: str, expected: tuple[str, str | None, str | None]
) -> None:
    await planning.add_type()
    await give_quiet_hours(planning, "u-1")
    event = await _send(planning, channels=(Channel.EMAIL,))
    await end_quiet_hours(planning)
    await planning.owner.execute(change)
    await holds.release()
    assert await _decided(planning, event) == {"email": expected}


async def _lease(planning: Planning, migrated: MigratedDatabase, event: UUID, *, token: int = 7) -> list[str]:
    ids = [row["id"] for row in await planning.rows(event)]
    worker = await migrated.pool("carillon_email_worker")
    rows = await worker.fetch(
        "SELECT verdict FROM carillon.lease($1, $2, $3, $4, $5, 'test', 30)", ids, [1], ids[0], ids[-1], token
    )
    await worker.close()
    return [row["verdict"] for row in rows]


async def test_a_worker_does_not_send_in_quiet_hours_and_counts_no_attempt(
    planning: Planning, holds: DueHolds, migrated: MigratedDatabase, publisher: RecordingPublisher
) -> None:
    await planning.add_type(throttle={"limit": 1, "per_seconds": 3600, "channels": ["email"]})
    event = await _send(planning, channels=(Channel.EMAIL,))
    await give_quiet_hours(planning, "u-1")
    assert await _lease(planning, migrated, event) == ["quiet"]
    (row,) = await planning.rows(event)
    assert (row["status"], row["hold_reason"], row["attempt"]) == ("held", "quiet_hours", 0)
    assert await _lease(planning, migrated, event) == ["stale"]
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.leases") == 0
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert [chunk.attempt for chunk in publisher.chunks()] == [1]
    # Its slot was taken when it was planned, and is not taken again.
    assert await planning.owner.fetchval("SELECT cardinality(taken) FROM carillon.limit_slots") == 1
    assert await _lease(planning, migrated, event) == ["leased"]


@pytest.mark.parametrize(
    ("rule", "lane", "verdict"),
    [("hold", Lane.CRITICAL, "leased"), ("pass", Lane.NORMAL, "leased"), ("skip", Lane.NORMAL, "skipped")],
)
async def test_a_worker_asks_the_type_and_the_lane_too(
    planning: Planning, migrated: MigratedDatabase, rule: str, lane: Lane, verdict: str
) -> None:
    await planning.add_type(quiet_hours=rule)
    event = await _send(planning, channels=(Channel.EMAIL,), lane=lane)
    await give_quiet_hours(planning, "u-1")
    assert await _lease(planning, migrated, event) == [verdict]
    assert (await _decided(planning, event))["email"][2] == ("quiet_hours" if verdict == "skipped" else None)
