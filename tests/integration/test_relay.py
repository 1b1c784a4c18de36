"""The relay publishes what is owed, when it is owed, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from carillon_api.intake.store import mark_published
from carillon_dispatcher.sweepers.relay import Relay
from carillon_shared.broker import Outgoing, PublishResult
from carillon_shared.contracts.messages import EventAccepted
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.rooms import rooms
from support.world import make_world


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=1) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def relay(planning: Planning, publisher: RecordingPublisher) -> Relay:
    return Relay(planning.dispatcher, publisher, windows=rooms(), batch=10)


async def _owe(planning: Planning, events: Sequence[UUID]) -> None:
    await planning.owner.execute(
        "UPDATE carillon.events SET owed_at = now() WHERE id = ANY ($1)", list(events)
    )


def _published(publisher: RecordingPublisher) -> list[UUID]:
    return [one.message.event_id for one in publisher.published if isinstance(one.message, EventAccepted)]


async def test_only_what_is_owed_now_is_published(
    planning: Planning, relay: Relay, publisher: RecordingPublisher
) -> None:
    fresh = await planning.add_event({"users": ["u-1"]})  # the API still has ten seconds for it
    owed = await planning.add_event({"users": ["u-1"]})
    await _owe(planning, [owed])
    assert await relay.relay() == 1
    assert _published(publisher) == [owed]
    assert publisher.published[0].routing_key == "normal.acme.ticket.changed"
    assert (await planning.event(owed))["owed_at"] is None
    assert (await planning.event(fresh))["owed_at"] is not None
    assert await relay.relay() == 0


async def test_a_scheduled_event_is_accepted_when_its_time_has_come(
    planning: Planning, relay: Relay, publisher: RecordingPublisher
) -> None:
    now = datetime.now(UTC)
    due = await planning.add_event({}, status="scheduled", deliver_at=now - timedelta(milliseconds=1))
    later = await planning.add_event({}, status="scheduled", deliver_at=now + timedelta(minutes=1))
    assert await relay.relay() == 1
    assert _published(publisher) == [due]
    assert (await planning.event(due))["status"] == "accepted"
    assert (await planning.event(later))["status"] == "scheduled"


async def test_it_goes_on_while_there_is_more(
    planning: Planning, relay: Relay, publisher: RecordingPublisher
) -> None:
    events = [await planning.add_event({}) for _ in range(34)]
    await _owe(planning, events)
    assert await relay.relay() == 34
    assert sorted(_published(publisher)) == sorted(events)
    assert publisher.calls == 4


async def test_two_relays_publish_each_event_once(planning: Planning, publisher: RecordingPublisher) -> None:
    events = [await planning.add_event({}) for _ in range(60)]
    await _owe(planning, events)
    relays = [Relay(planning.dispatcher, publisher, windows=rooms(), batch=7) for _ in range(2)]
    assert sum(await asyncio.gather(*(relay.relay() for relay in relays))) == 60
    assert sorted(_published(publisher)) == sorted(events)


async def test_nothing_is_claimed_while_the_broker_is_away(
    planning: Planning, relay: Relay, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({})
    await _owe(planning, [event])
    publisher.away = True
    assert await relay.relay() == 0
    assert await planning.owner.fetchval("SELECT owed_at <= now() FROM carillon.events")
    publisher.away = False
    assert await relay.relay() == 1


@dataclass(slots=True)
class _Meanwhile(RecordingPublisher):
    """Loses the connection, or lets a plan fail, while it publishes."""

    planning: Planning | None = None

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        if self.planning is None:
            self.away = True
        else:
            await self.planning.store.postpone([UUID(one.message_id) for one in outgoings], "a plan failed")
        return await RecordingPublisher.publish_many(self, outgoings)


async def test_what_was_not_confirmed_is_owed_again_in_a_second(planning: Planning) -> None:
    event = await planning.add_event({})
    await _owe(planning, [event])
    await Relay(planning.dispatcher, _Meanwhile(), windows=rooms(), batch=10).relay()
    owed_in = await planning.owner.fetchval("SELECT owed_at - now() FROM carillon.events")
    assert 0 < owed_in.total_seconds() <= 1


async def test_what_is_owed_anew_while_it_is_published_stays_owed(planning: Planning) -> None:
    event = await planning.add_event({})
    await _owe(planning, [event])
    publisher = _Meanwhile(planning=planning)
    await Relay(planning.dispatcher, publisher, windows=rooms(), batch=10).relay()
    assert _published(publisher) == [event]
    row = await planning.event(event)
    assert row["owed_at"] is not None
    assert row["plan_error"] == "a plan failed"


async def test_the_fast_path_does_not_clear_what_a_plan_that_failed_owes(planning: Planning) -> None:
    """The dispatcher may be done with a message before its confirm has reached the API."""
    postponed, usual = await planning.add_event({}), await planning.add_event({})
    await _owe(planning, [postponed, usual])
    await planning.store.postpone([postponed], "a plan failed")
    await mark_published(planning.owner, [postponed, usual])
    assert (await planning.event(postponed))["owed_at"] is not None
    assert (await planning.event(usual))["owed_at"] is None


async def test_a_claim_outlives_its_process_by_half_a_minute(planning: Planning) -> None:
    event = await planning.add_event({})
    await _owe(planning, [event])
    await planning.dispatcher.fetch("SELECT * FROM carillon.claim_owed(10, 30)")
    owed_in = await planning.owner.fetchval("SELECT owed_at - now() FROM carillon.events")
    assert 25 < owed_in.total_seconds() <= 30


async def _owed_to_two(planning: Planning, many: int) -> tuple[list[UUID], UUID]:
    """Owe one tenant's events, and later one of another; return them."""
    loud = [await planning.add_event({}) for _ in range(many)]
    await _owe(planning, loud)
    planning.world = await make_world(planning.owner, slug="quiet", people=1)
    quiet = await planning.add_event({})
    await _owe(planning, [quiet])
    return loud, quiet


async def test_tenants_take_turns_however_much_one_is_owed(
    planning: Planning, relay: Relay, publisher: RecordingPublisher
) -> None:
    loud, quiet = await _owed_to_two(planning, 35)
    assert await relay.relay() == 36
    published = _published(publisher)
    assert quiet in published[:10]
    assert sorted(published) == sorted([*loud, quiet])


async def test_a_lane_gets_no_more_than_it_has_room_for(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    _, quiet = await _owed_to_two(planning, 35)
    bulk = [await planning.add_event({}, lane=Lane.BULK) for _ in range(12)]
    await _owe(planning, bulk)
    windows = rooms(1)
    windows[Lane.BULK].left = 100
    await Relay(planning.dispatcher, publisher, windows=windows, batch=10).relay()
    published = _published(publisher)
    assert quiet in published
    assert set(bulk) <= set(published)
    assert len(published) == 22  # a batch fills the room and may exceed it, then there is none
    assert (
        await planning.owner.fetchval(
            "SELECT count(*) FROM carillon.events WHERE owed_at < now() + interval '1 second'"
        )
        == 26
    )


async def test_many_tenants_are_each_asked_for_few(planning: Planning) -> None:
    events = {}
    for number in range(40):
        planning.world = await make_world(planning.owner, slug=f"t-{number}", people=0)
        events[number] = [await planning.add_event({}) for _ in range(3)]
    await _owe(planning, [one for own in events.values() for one in own])
    rows = await planning.dispatcher.fetch("SELECT * FROM carillon.claim_owed(50, 30)")
    assert len(rows) == 50
    assert {row["tenant"] for row in rows} == {f"t-{number}" for number in range(40)}
