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
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=1) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def relay(planning: Planning, publisher: RecordingPublisher) -> Relay:
    return Relay(planning.dispatcher, publisher, batch=10)


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
    relays = [Relay(planning.dispatcher, publisher, batch=7) for _ in range(2)]
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
    await Relay(planning.dispatcher, _Meanwhile(), batch=10).relay()
    owed_in = await planning.owner.fetchval("SELECT owed_at - now() FROM carillon.events")
    assert 0 < owed_in.total_seconds() <= 1


async def test_what_is_owed_anew_while_it_is_published_stays_owed(planning: Planning) -> None:
    event = await planning.add_event({})
    await _owe(planning, [event])
    publisher = _Meanwhile(planning=planning)
    await Relay(planning.dispatcher, publisher, batch=10).relay()
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
