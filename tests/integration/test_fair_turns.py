"""A tenant that sends thousands does not stand before another's next event."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from carillon_api.intake.fast_path import FastPath
from carillon_api.intake.rows import IntakeRow, Key
from carillon_shared.broker import BrokerSession, Incoming
from carillon_shared.clock import SystemClock
from carillon_shared.consumer import Ack
from carillon_shared.consumer.fair_source import FairSource, Portion
from carillon_shared.db.pool import Pool
from carillon_shared.domain.lanes import Lane
from support.broker_queues import QUEUE, broker_session, depth, number_of, publish_numbers
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.rooms import FixedRoom, rooms
from support.waiting import eventually


def _number(incoming: Incoming) -> int:
    return number_of(incoming.type, incoming.body)


def _by_hundreds(incoming: Incoming) -> Portion:
    return Portion(str(_number(incoming) // 100), items=_number(incoming) % 100)


@asynccontextmanager
async def _source(
    session: BrokerSession, *, prefetch: int = 1000, max_items: int | None = None
) -> AsyncIterator[FairSource]:
    subscription = session.subscribe(QUEUE, prefetch=prefetch)
    source = FairSource(subscription, portion_of=_by_hundreds, max_items=max_items)
    try:
        yield source
    finally:
        await source.close()


async def _arrived(source: FairSource, many: int) -> None:
    async def all_here() -> bool:
        return source._subscription.waiting == many

    await eventually(all_here, seconds=20, what=f"{many} messages in the line")


async def test_within_what_has_arrived_tenants_take_turns(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await publish_numbers(session, [*range(50), 100, 101, 200])
        async with _source(session) as source:
            await _arrived(source, 53)
            batch = await source.get_batch(6)
            assert [_number(one) for one in batch] == [0, 100, 200, 1, 101, 2]
            # Settled out of order: what is older and still open must not be told with it.
            await source.settle_many([(one, Ack()) for one in batch[1:]])
            assert source.open_messages == 53
            assert len(await source.get_batch(1000)) == 47
            await source.settle(batch[0], Ack())
        assert await depth(broker_url) == 47


async def test_who_comes_late_need_not_wait_for_what_was_there(broker_url: str) -> None:
    async with broker_session(broker_url) as session, _source(session) as source:
        await publish_numbers(session, range(60))
        await _arrived(source, 60)
        assert [_number(one) for one in await source.get_batch(5)] == [0, 1, 2, 3, 4]
        await publish_numbers(session, [100])
        await _arrived(source, 1)
        assert [_number(one) for one in await source.get_batch(3)] == [5, 100, 6]


async def test_a_batch_ends_once_it_carries_enough(broker_url: str) -> None:
    async with broker_session(broker_url) as session, _source(session, max_items=30) as source:
        await publish_numbers(session, [10, 15, 90, 110, 5])
        await _arrived(source, 5)
        batches = [await source.get_batch(100) for _ in range(3)]
        assert [[_number(one) for one in batch] for batch in batches] == [[10, 110, 15], [90], [5]]


async def test_a_drain_gives_back_what_nobody_has_got(broker_url: str) -> None:
    async with broker_session(broker_url) as session, _source(session) as source:
        await publish_numbers(session, range(30))
        await _arrived(source, 30)
        batch = await source.get_batch(10)
        await source.drain()
        assert await source.get_batch(10) == []

        async def given_back() -> bool:
            return await depth(broker_url) == 20

        await eventually(given_back, seconds=20, what="the rest to be back in its queue")
        await source.settle_many([(one, Ack()) for one in batch])


async def test_what_a_lost_channel_had_brought_is_not_given_out(broker_url: str) -> None:
    async with broker_session(broker_url) as session, _source(session) as source:
        await publish_numbers(session, [*range(5), 100])
        await _arrived(source, 6)
        assert [_number(one) for one in await source.get_batch(2)] == [0, 100]
        source._subscription._kept.renew("a test")
        seen: list[Incoming] = []

        async def all_again() -> bool:
            seen.extend(one for one in await source.get_batch(100, wait=0) if source.is_current(one))
            return len(seen) >= 6

        await eventually(all_again, seconds=20, what="everything to come again")
        assert sorted(map(_number, seen)) == [0, 1, 2, 3, 4, 100]
        await source.settle_many([(one, Ack()) for one in seen])


async def test_a_window_lets_a_queue_hold_only_so_many(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        window = session.window(QUEUE, size=20)
        await publish_numbers(session, range(3))
        assert await window.room() == 17
        window.fill(16)
        assert await window.room() == 1  # not asked again before it is used up
        window.fill(1)
        await publish_numbers(session, range(8))
        assert await window.room() == 0  # 11 wait: more than half
        async with _source(session, prefetch=2):

            async def has_room() -> bool:
                return await window.room() == 11

            await eventually(has_room, seconds=20, what="room, when half of it is empty")


async def test_a_queue_that_cannot_be_measured_has_room(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        assert await session.window("no.such.queue", size=20).room() == 20
        window = session.window(QUEUE, size=20)
    assert await window.room() == 20  # the connection is closed


def _row(tenant: str, lane: Lane = Lane.NORMAL) -> IntakeRow:
    return IntakeRow(
        key=Key(1, "/test", "x"),
        body_hash=b"",
        tenant=tenant,
        type="message",
        category="general",
        lane=lane,
        channels="{inapp}",
        subject=None,
        time=None,
        data="{}",
        audience=json.dumps({"users": ["u-1"]}),
        inline_users=None,
        actor=None,
        deliver_at=None,
        expires_at=None,
        traceparent=None,
        throttle=None,
    )


class _Broker(RecordingPublisher):
    """Remembers whose events came, in order."""

    @property
    def tenants(self) -> str:
        return "".join(one.routing_key.split(".")[1] for one in self.published)


@asynccontextmanager
async def _fast_path(
    pool: Pool, broker: _Broker, windows: dict[Lane, FixedRoom], *, max_waiting: int = 1000
) -> AsyncIterator[FastPath]:
    path = FastPath(broker, pool, clock=SystemClock(), windows=windows, max_waiting=max_waiting)
    running = asyncio.create_task(path.run())
    try:
        yield path
    finally:
        running.cancel()
        await asyncio.wait([running])


def _offer(path: FastPath, tenants: str, lane: Lane = Lane.NORMAL) -> None:
    for tenant in tenants:
        path.offer(UUID(int=1), _row(tenant, lane))


async def _published(broker: _Broker, many: int) -> None:
    async def all_out() -> bool:
        return len(broker.published) >= many

    await eventually(all_out, seconds=20, what=f"{many} events at the broker")


async def test_intake_hands_on_by_turns_what_a_lane_has_room_for(migrated: MigratedDatabase) -> None:
    pool, broker, windows = await migrated.pool(), _Broker(), rooms(0)
    async with _fast_path(pool, broker, windows) as path:
        _offer(path, "a" * 30)
        _offer(path, "b")
        _offer(path, "c", Lane.CRITICAL)
        windows[Lane.CRITICAL].left = 10
        await _published(broker, 1)
        assert broker.tenants == "c"  # a full lane does not keep another waiting
        windows[Lane.NORMAL].left = 3
        await _published(broker, 4)
        assert broker.tenants == "caba"
        assert windows[Lane.NORMAL].left == 0
        windows[Lane.NORMAL].left = 100
        await path.drained()
        assert broker.tenants == "cab" + "a" * 29
    await pool.close()


async def test_whoever_fills_the_line_leaves_room_in_it(migrated: MigratedDatabase) -> None:
    pool, broker, windows = await migrated.pool(), _Broker(), rooms(0)
    async with _fast_path(pool, broker, windows, max_waiting=40) as path:
        _offer(path, "a" * 100)
        _offer(path, "b" * 3)
        windows[Lane.NORMAL].left = 100
        await _published(broker, 23)
        assert sorted(broker.tenants) == ["a"] * 20 + ["b"] * 3
    await pool.close()


async def test_at_the_end_what_has_no_room_is_left_to_the_relay(migrated: MigratedDatabase) -> None:
    pool, broker = await migrated.pool(), _Broker()
    async with _fast_path(pool, broker, rooms(5)) as path:
        _offer(path, "a" * 30)
        async with asyncio.timeout(10):
            await path.drained()
    assert broker.tenants == "aaaaa"
    await pool.close()


async def test_what_has_waited_too_long_is_left_to_the_relay(migrated: MigratedDatabase) -> None:
    pool, broker, windows = await migrated.pool(), _Broker(), rooms(0)
    clock = _Clock()
    path = FastPath(broker, pool, clock=clock, windows=windows)
    running = asyncio.create_task(path.run())
    _offer(path, "aa")
    clock.seconds += 5.0
    _offer(path, "ab")
    clock.seconds += 2.0
    windows[Lane.NORMAL].left = 10
    await _published(broker, 2)
    assert broker.tenants == "ab"
    running.cancel()
    await asyncio.wait([running])
    await pool.close()


class _Clock(SystemClock):
    """Stands still until it is moved."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds
