"""What the dispatcher does with its messages, on a real PostgreSQL and a broker that a test may take away."""

from collections.abc import AsyncIterator, Collection
from uuid import UUID

import asyncpg
import pytest
from carillon_dispatcher.fanout import FanoutHandler
from carillon_dispatcher.handler import DispatchHandler
from carillon_dispatcher.planning.fair_work import FairWork
from carillon_dispatcher.planning.rows import Verdict
from carillon_dispatcher.planning.shares import Shares
from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.sweepers.expiry import Expiry
from carillon_shared.consumer import Ack, DeadLetter
from carillon_shared.contracts.messages import RangePlanned
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, accepted, planning_in, received
from support.rooms import FixedGauge

_ALL = (Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)
_BROKEN = {"users": {"no": "list"}}


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=30, range_size=25) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def handler(planning: Planning, publisher: RecordingPublisher) -> DispatchHandler:
    return _dispatching(planning.store, publisher)


@pytest.fixture
def fanout(planning: Planning, publisher: RecordingPublisher) -> FanoutHandler:
    work = FairWork(publisher, planning.store, Shares(lambda _: FixedGauge()))
    return FanoutHandler(planning.store, publisher, work, Expiry(planning.dispatcher, batch=10))


def _dispatching(store: PlanStore, publisher: RecordingPublisher) -> DispatchHandler:
    return DispatchHandler(store, publisher, FairWork(publisher, store, Shares(lambda _: FixedGauge())))


def _ranges(publisher: RecordingPublisher) -> list[RangePlanned]:
    return [one.message for one in publisher.published if isinstance(one.message, RangePlanned)]


async def test_a_batch_of_small_events_is_published_together(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher
) -> None:
    events = [await planning.add_event({"users": [f"u-{n}"]}, channels=_ALL) for n in range(1, 11)]
    settlements = await handler(received(*map(accepted, [*events, events[0]])))
    assert settlements == [Ack()] * 11
    assert publisher.calls == 1
    chunks = publisher.chunks()
    assert len(chunks) == 30  # one for each event and channel
    assert {(chunk.event_id, chunk.channel) for chunk in chunks} == {
        (event, channel) for event in events for channel in _ALL
    }
    assert {chunk.attempt for chunk in chunks} == {1}
    assert {(one.routing_key, one.exchange) for one in publisher.published} == {
        (f"{channel}.normal", "carillon.work") for channel in _ALL
    }
    assert {(await planning.event(event))["status"] for event in events} == {"dispatched"}


async def test_a_second_message_for_an_event_is_only_acked(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"users": ["u-1"]})
    await handler(received(accepted(event)))
    assert await handler(received(accepted(event))) == [Ack()]
    assert len(publisher.published) == 1


async def test_what_was_planned_before_a_crash_is_published_with_the_same_message_ids(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"users": ["u-1", "u-2"]}, channels=_ALL)
    assert await planning.plan(event) == [Verdict.PLANNED]
    await handler(received(accepted(event)))
    first = [one.message_id for one in publisher.published]
    await planning.owner.execute("UPDATE carillon.events SET published_at = NULL, status = 'dispatching'")
    await handler(received(accepted(event)))
    assert [one.message_id for one in publisher.published] == first * 2
    assert sorted(set(publisher.delivery_ids())) == [row["id"] for row in await planning.rows(event)]


async def test_only_what_is_queued_is_published(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"users": ["u-1", "u-2", "nobody"]}, actor="u-2")
    await handler(received(accepted(event)))
    assert publisher.delivery_ids() == [
        row["id"] for row in await planning.rows(event) if row["status"] == "queued"
    ]
    assert len(publisher.delivery_ids()) == 1


async def test_without_the_broker_events_are_owed_again_and_published_later(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"users": ["u-1"]})
    publisher.away = True
    assert await handler(received(accepted(event))) == [Ack()]
    row = await planning.event(event)
    assert (row["status"], row["published_at"]) == ("dispatching", None)
    assert row["owed_at"] is not None
    publisher.away = False
    assert await handler(received(accepted(event))) == [Ack()]
    assert (await planning.event(event))["status"] == "dispatched"
    assert len(publisher.published) == 1


class _Deadlocked(PlanStore):
    async def plan_events(self, ids: Collection[UUID]) -> dict[UUID, Verdict]:
        raise asyncpg.DeadlockDetectedError(f"{len(ids)} events wait for each other")


async def test_a_passing_failure_leaves_the_events_to_the_relay(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    events = [await planning.add_event({"users": ["u-1"]}) for _ in range(2)]
    handler = _dispatching(_Deadlocked(planning.dispatcher, range_size=5), publisher)
    assert await handler(received(*map(accepted, events))) == [Ack(), Ack()]
    assert await handler(received(*map(accepted, events))) == [Ack(), Ack()]
    row = await planning.event(events[0])
    assert row["plan_attempts"] == 2
    assert "DeadlockDetectedError" in row["plan_error"]
    owed_in = await planning.owner.fetchval("SELECT max(owed_at) - now() FROM carillon.events")
    assert 0.5 < owed_in.total_seconds() <= 2.1


async def test_an_event_that_cannot_be_planned_is_told_apart_and_dead_lettered(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher
) -> None:
    good, bad = await planning.add_event({"users": ["u-1"]}), await planning.add_event(_BROKEN)
    with pytest.raises(asyncpg.PostgresError):
        await handler(received(accepted(good), accepted(bad)))  # the consumer then tries them one by one
    assert await handler(received(accepted(good))) == [Ack()]
    (settlement,) = await handler(received(accepted(bad)))
    assert isinstance(settlement, DeadLetter)
    row = await planning.event(bad)
    assert (row["status"], row["owed_at"], row["plan_attempts"]) == ("accepted", None, 1)
    assert "cannot get array length" in row["plan_error"]
    assert len(publisher.published) == 1


async def test_messages_of_another_kind_are_dead_lettered(
    planning: Planning, handler: DispatchHandler, fanout: FanoutHandler
) -> None:
    event = await planning.add_event({"users": ["u-1"]})
    (wrong, right) = await handler(received(RangePlanned(event_id=event, n=0), accepted(event)))
    assert isinstance(wrong, DeadLetter)
    assert right == Ack()
    (wrong,) = await fanout(received(accepted(event)))
    assert isinstance(wrong, DeadLetter)


async def test_a_large_event_goes_through_ranges(
    planning: Planning, handler: DispatchHandler, fanout: FanoutHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"everyone": True}, channels=_ALL, lane=Lane.BULK)
    assert await handler(received(accepted(event, lane=Lane.BULK))) == [Ack()]
    ranges = _ranges(publisher)
    assert [message.n for message in ranges] == [0, 1]
    assert {one.routing_key for one in publisher.published} == {"bulk"}
    assert await fanout(received(ranges[0])) == [Ack()]
    assert (await planning.event(event))["status"] == "dispatching"
    assert await fanout(received(ranges[1], ranges[0])) == [Ack(), Ack()]
    assert (await planning.event(event))["status"] == "dispatched"
    ids = publisher.delivery_ids()
    assert len(ids) == len(set(ids)) == 90
    assert sorted(ids) == [row["id"] for row in await planning.rows(event)]


async def test_few_ranges_of_an_event_are_on_their_way_and_each_brings_the_next(
    planning: Planning, publisher: RecordingPublisher
) -> None:
    store = PlanStore(planning.dispatcher, range_size=2)
    handler = _dispatching(store, publisher)
    work = FairWork(publisher, store, Shares(lambda _: FixedGauge()))
    fanout = FanoutHandler(store, publisher, work, Expiry(planning.dispatcher, batch=10))
    event = await planning.add_event({"everyone": True})
    await handler(received(accepted(event)))
    await handler(received(accepted(event)))
    assert [message.n for message in _ranges(publisher)] == list(range(8))  # of fifteen
    await fanout(received(_ranges(publisher)[3]))
    await fanout(received(_ranges(publisher)[3]))  # once more, as after a crash
    assert [message.n for message in _ranges(publisher)] == list(range(9))
    done = {3}
    while left := [message for message in _ranges(publisher) if message.n not in done]:
        await fanout(received(*left[:2]))
        done |= {message.n for message in left[:2]}
    assert len(_ranges(publisher)) == 15
    assert (await planning.event(event))["status"] == "dispatched"
    assert len(publisher.delivery_ids()) == 30


async def test_a_range_whose_messages_did_not_leave_is_published_when_it_comes_again(
    planning: Planning, handler: DispatchHandler, fanout: FanoutHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"everyone": True})
    await handler(received(accepted(event)))
    ranges = _ranges(publisher)
    publisher.away = True
    assert await fanout(received(*ranges)) == [Ack(), Ack()]
    assert (await planning.event(event))["status"] == "dispatching"
    publisher.away = False
    await fanout(received(*ranges))
    assert (await planning.event(event))["status"] == "dispatched"
    assert len(publisher.delivery_ids()) == 30


async def test_a_range_that_cannot_be_planned_is_dead_lettered_and_left_alone(
    planning: Planning, handler: DispatchHandler, fanout: FanoutHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"everyone": True})
    await handler(received(accepted(event)))
    await planning.owner.execute("UPDATE carillon.events SET audience = $1", _BROKEN)
    with pytest.raises(asyncpg.PostgresError):
        await fanout(received(*_ranges(publisher)))
    (settlement,) = await fanout(received(_ranges(publisher)[0]))
    assert isinstance(settlement, DeadLetter)
    assert "cannot extract elements" in (await planning.event(event))["plan_error"]


async def test_an_event_that_expires_in_the_middle_of_its_fan_out_ends_there(
    planning: Planning, handler: DispatchHandler, fanout: FanoutHandler, publisher: RecordingPublisher
) -> None:
    event = await planning.add_event({"everyone": True})
    await handler(received(accepted(event)))
    first, second = _ranges(publisher)
    await fanout(received(first))
    await planning.owner.execute("UPDATE carillon.events SET expires_at = now()")
    assert await fanout(received(second)) == [Ack()]
    assert (await planning.event(event))["status"] == "expired"
    assert await planning.statuses(event) == {"expired": 25}


async def test_chunks_keep_to_their_size(migrated: MigratedDatabase, publisher: RecordingPublisher) -> None:
    async with planning_in(migrated, people=1100) as planning:
        event = await planning.add_event({"everyone": True}, channels=(Channel.INAPP, Channel.EMAIL))
        await _dispatching(planning.store, publisher)(received(accepted(event)))
    sizes = {
        channel: [len(chunk.delivery_ids) for chunk in publisher.chunks() if chunk.channel is channel]
        for channel in (Channel.INAPP, Channel.EMAIL)
    }
    assert sizes == {Channel.INAPP: [500, 500, 100], Channel.EMAIL: [200] * 5 + [100]}
