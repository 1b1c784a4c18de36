"""Channels that are used only if the others did not do, planned and released on a real PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.domain.channels import Channel
from carillon_shared.ids import delivery_id
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_oracle import DAYS, window

_ALL = (Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)
_UNSEEN = {"email": {"unless": "seen", "after_seconds": 600}}
_UNREAD = {"email": {"unless": "read", "after_seconds": 600}}
_WRITE = """
    SELECT count(*) FROM carillon.write_feed(
        ARRAY[$1::uuid], '{1}', '{title}', '{body}', '{NULL}', $1, $1, false)
"""


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=2) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def holds(planning: Planning, publisher: RecordingPublisher) -> DueHolds:
    return DueHolds(planning.dispatcher, publisher, batch=100)


async def _plan(planning: Planning, channels: Sequence[Channel] = _ALL, **audience: Any) -> UUID:
    event = await planning.add_event(audience or {"users": ["u-1"]}, channels=channels)
    assert await planning.plan(event) == ["planned"]
    await planning.store.mark_events_published([event])
    return event


async def _states(planning: Planning, event: UUID) -> dict[str, tuple[str, str | None, str | None]]:
    return {
        row["channel"]: (row["status"], row["hold_reason"], row["reason"])
        for row in await planning.rows(event)
    }


def _of(planning: Planning, event: UUID, channel: Channel, person: int = 0) -> UUID:
    return delivery_id(event, planning.world.people[person], channel)


async def _show(planning: Planning, event: UUID) -> None:
    """Let the item stand in the feed."""
    await planning.owner.execute(_WRITE, _of(planning, event, Channel.INAPP))


async def _come_due(planning: Planning, holds: DueHolds) -> None:
    await planning.owner.execute("UPDATE carillon.due SET due_at = now()")
    await holds.release()


async def _end(planning: Planning, event: UUID, channel: Channel, status: str) -> None:
    """Let a provider have said so."""
    await planning.owner.execute(
        """UPDATE carillon.deliveries SET status = $2::text::carillon.delivery_status, hold_reason = NULL,
        reason = CASE WHEN $2 IN ('failed', 'dead') THEN 'invalid_address'::carillon.reason END,
        next_attempt_at = now() WHERE id = $1""",
        _of(planning, event, channel),
        status,
    )


async def test_a_mail_waits_to_be_needed_and_the_feed_does_not(planning: Planning, holds: DueHolds) -> None:
    await planning.add_type(conditions=_UNSEEN)
    event = await _plan(planning)
    assert await _states(planning, event) == {
        "inapp": ("queued", None, None),
        "email": ("held", "condition", None),
        "whatsapp": ("queued", None, None),
    }
    waits = await planning.owner.fetchval("SELECT due_at - now() FROM carillon.due")
    assert 595 < waits.total_seconds() <= 600
    assert await holds.release() == 0
    shown = await planning.owner.fetchval(
        "SELECT next_attempt_at - created_at FROM carillon.deliveries WHERE status = 'held'"
    )
    assert shown.total_seconds() == 600


async def test_what_nobody_saw_is_mailed(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    await planning.add_type(conditions=_UNSEEN)
    event = await _plan(planning)
    await _show(planning, event)
    await _come_due(planning, holds)
    assert (await _states(planning, event))["email"] == ("queued", None, None)
    assert publisher.delivery_ids() == [_of(planning, event, Channel.EMAIL)]


@pytest.mark.parametrize(
    ("change", "conditions", "reason"),
    [
        ("UPDATE carillon.feed_items SET seen_at = now()", _UNSEEN, "condition_not_met"),
        ("UPDATE carillon.feeds SET seen_all_seq = seq", _UNSEEN, "condition_not_met"),
        ("UPDATE carillon.feed_items SET deleted_at = now()", _UNSEEN, "already_read"),
        ("UPDATE carillon.feed_items SET read_at = now()", _UNREAD, "already_read"),
        ("UPDATE carillon.feed_items SET seen_at = now()", _UNREAD, None),
    ],
)
async def test_what_was_seen_or_read_is_not_mailed(
    planning: Planning, holds: DueHolds, change: str, conditions: dict[str, Any], reason: str | None
) -> None:
    await planning.add_type(conditions=conditions)
    event = await _plan(planning)
    await _show(planning, event)
    await planning.owner.execute(change)
    await _come_due(planning, holds)
    expected = ("skipped", None, reason) if reason else ("queued", None, None)
    assert (await _states(planning, event))["email"] == expected


async def test_a_mandatory_mail_has_its_condition_too(planning: Planning, holds: DueHolds) -> None:
    await planning.add_type(conditions=_UNREAD, mandatory=True)
    event = await _plan(planning)
    await _show(planning, event)
    await planning.owner.execute("UPDATE carillon.feed_items SET read_at = now()")
    await _come_due(planning, holds)
    assert (await _states(planning, event))["email"] == ("skipped", None, "condition_not_met")


async def test_nobody_waits_for_a_feed_that_does_not_show_it(planning: Planning) -> None:
    await planning.add_type(conditions=_UNSEEN)
    without = await _plan(planning, (Channel.EMAIL,))
    assert (await _states(planning, without))["email"] == ("queued", None, None)
    await planning.owner.execute(
        """INSERT INTO carillon.preferences (tenant_id, subscriber, document)
        VALUES ($1, $2, '{"all": {"inapp": false}}')""",
        planning.world.tenant_id,
        planning.world.people[0],
    )
    unwanted = await _plan(planning)
    assert await _states(planning, unwanted) == {
        "inapp": ("skipped", None, "opted_out"),
        "email": ("queued", None, None),
        "whatsapp": ("queued", None, None),
    }


async def test_who_does_not_want_mail_is_not_asked_for_the_condition(planning: Planning) -> None:
    await planning.add_type(conditions=_UNSEEN)
    await planning.owner.execute("UPDATE carillon.subscribers SET email = NULL")
    event = await _plan(planning)
    assert (await _states(planning, event))["email"] == ("skipped", None, "no_address")


async def test_a_condition_ends_with_its_event(planning: Planning, holds: DueHolds) -> None:
    await planning.add_type(conditions=_UNSEEN)
    event = await _plan(planning)
    await planning.owner.execute("UPDATE carillon.events SET status = 'cancelled', cancelled_at = now()")
    await _come_due(planning, holds)
    assert (await _states(planning, event))["email"] == ("cancelled", None, "cancelled")


async def test_whoever_is_needed_meets_the_limits_then(planning: Planning, holds: DueHolds) -> None:
    throttle = {"limit": 1, "per_seconds": 3600, "channels": ["email"], "on_exceed": "hold"}
    await planning.add_type(conditions=_UNSEEN, throttle=throttle)
    events = [await _plan(planning), await _plan(planning)]
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.limit_slots WHERE taken <> '{}'") == 0
    await _come_due(planning, holds)
    assert [(await _states(planning, event))["email"][:2] for event in events] == [
        ("queued", None),
        ("held", "throttled"),
    ]


async def test_planning_twice_adds_nothing(planning: Planning) -> None:
    await planning.add_type(conditions=_UNSEEN, stop_on_first_success=True)
    event = await _plan(planning)
    before = await planning.rows(event)
    await planning.owner.execute(
        "DELETE FROM carillon.deliveries WHERE id = $1", _of(planning, event, Channel.EMAIL)
    )
    await planning.owner.execute("DELETE FROM carillon.due")
    await planning.owner.execute("SELECT carillon.insert_deliveries(ARRAY[$1::uuid], 0, 4294967295)", event)
    after = await planning.rows(event)
    assert [(row["id"], row["status"]) for row in after] == [(row["id"], row["status"]) for row in before]


async def test_one_channel_after_the_other_until_one_takes_it(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    await planning.add_type(channels=["whatsapp", "email", "inapp"], stop_on_first_success=True)
    order = (Channel.WHATSAPP, Channel.EMAIL, Channel.INAPP)
    event = await _plan(planning, order)
    waiting = ("held", "condition", None)
    assert await _states(planning, event) == {
        "whatsapp": ("queued", None, None),
        "email": waiting,
        "inapp": waiting,
    }
    await _come_due(planning, holds)  # too early to know
    assert (await _states(planning, event))["email"] == waiting
    waits = await planning.owner.fetchval("SELECT min(due_at) - now() FROM carillon.due")
    assert 4 < waits.total_seconds() <= 5
    await _end(planning, event, Channel.WHATSAPP, "failed")
    await _come_due(planning, holds)
    assert await _states(planning, event) == {
        "whatsapp": ("failed", None, "invalid_address"),
        "email": ("queued", None, None),
        "inapp": waiting,
    }
    await _end(planning, event, Channel.EMAIL, "sent")
    await _come_due(planning, holds)
    assert (await _states(planning, event))["inapp"] == ("skipped", None, "condition_not_met")
    assert publisher.delivery_ids() == [_of(planning, event, Channel.EMAIL)]


@pytest.mark.parametrize(
    ("ended", "then"),
    [("delivered", "skipped"), ("dead", "queued"), ("retrying", "held"), ("unknown", "held")],
)
async def test_what_is_not_known_is_waited_for_and_what_is_dead_is_not(
    planning: Planning, holds: DueHolds, ended: str, then: str
) -> None:
    await planning.add_type(channels=["whatsapp", "email"], stop_on_first_success=True)
    event = await _plan(planning, (Channel.WHATSAPP, Channel.EMAIL))
    await _end(planning, event, Channel.WHATSAPP, ended)
    await _come_due(planning, holds)
    assert (await _states(planning, event))["email"][0] == then


async def test_a_channel_that_is_not_used_is_not_waited_for(planning: Planning) -> None:
    await planning.add_type(channels=["whatsapp", "email"], stop_on_first_success=True)
    await planning.owner.execute("UPDATE carillon.subscribers SET phone = NULL WHERE id = 'u-1'")
    event = await _plan(planning, (Channel.WHATSAPP, Channel.EMAIL), users=["u-1", "u-2"])
    rows = {(row["subscriber"], row["channel"]): row["status"] for row in await planning.rows(event)}
    first, second = planning.world.people
    assert rows == {
        (first, "whatsapp"): "skipped",
        (first, "email"): "queued",
        (second, "whatsapp"): "queued",
        (second, "email"): "held",
    }


async def test_feed_then_mail_if_unseen_then_whatsapp_if_there_is_no_mail(
    planning: Planning, holds: DueHolds
) -> None:
    both = _UNSEEN | {"whatsapp": {"unless": "seen", "after_seconds": 1200}}
    await planning.add_type(conditions=both, stop_on_first_success=True)
    event = await _plan(planning)
    await _show(planning, event)
    await _come_due(planning, holds)
    assert {channel: state[0] for channel, state in (await _states(planning, event)).items()} == {
        "inapp": "delivered",
        "email": "queued",
        "whatsapp": "held",
    }
    await _end(planning, event, Channel.EMAIL, "failed")
    await _come_due(planning, holds)
    assert (await _states(planning, event))["whatsapp"] == ("queued", None, None)


async def test_a_dead_letter_is_not_sent_again_after_another_channel_took_it(planning: Planning) -> None:
    await planning.add_type(channels=["whatsapp", "email"], stop_on_first_success=True)
    event = await _plan(planning, (Channel.WHATSAPP, Channel.EMAIL))
    dead = _of(planning, event, Channel.WHATSAPP)
    await _end(planning, event, Channel.WHATSAPP, "dead")
    verdict = "SELECT skip FROM carillon.replay_skips(ARRAY[$1::uuid], $1, $1, NULL)"
    assert await planning.owner.fetchval(verdict, dead) != "condition_not_met"
    await _end(planning, event, Channel.EMAIL, "sent")
    assert await planning.owner.fetchval(verdict, dead) == "condition_not_met"


async def test_quiet_hours_are_asked_when_it_is_needed_and_not_before(planning: Planning) -> None:
    await planning.add_type(conditions=_UNSEEN, quiet_hours="skip")
    await planning.owner.execute(
        "INSERT INTO carillon.preferences (tenant_id, subscriber, document) VALUES ($1, $2, $3)",
        planning.world.tenant_id,
        planning.world.people[0],
        {"quiet_hours": {"windows": [window("00:00", "24:00", DAYS)]}},
    )
    event = await _plan(planning)
    assert await _states(planning, event) == {
        "inapp": ("queued", None, None),
        "email": ("held", "condition", None),
        "whatsapp": ("skipped", None, "quiet_hours"),
    }
