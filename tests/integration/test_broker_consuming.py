import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from carillon_shared.broker import BrokerError, BrokerSession, Incoming, Subscription, declare
from support.broker_queues import (
    QUEUE,
    SMALL_TOPOLOGY,
    broker_session,
    depth,
    number_of,
    plain_channel,
    publish_numbers,
)
from support.waiting import eventually


def _number(incoming: Incoming) -> int:
    return number_of(incoming.type, incoming.body)


async def _take(subscription: Subscription, count: int) -> list[Incoming]:
    taken: list[Incoming] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            taken += await subscription.take(count - len(taken))
    return taken


async def _depth_is(url: str, expected: int) -> None:
    async def fact() -> bool:
        return await depth(url) == expected

    await eventually(fact, seconds=10, what=f"{expected} messages waiting")


async def test_messages_arrive_in_order_with_what_was_said_about_them(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        subscription = session.subscribe(QUEUE, prefetch=100)
        await publish_numbers(session, range(50))
        taken = await _take(subscription, 50)
    assert [_number(incoming) for incoming in taken] == list(range(50))
    first = taken[0]
    assert (first.routing_key, first.exchange, first.message_id) == ("key", "test.work", "m-0")
    assert (first.redelivered, first.delivery_count, first.generation) == (False, 0, 1)
    assert first.published_at is not None
    assert datetime.now(UTC) - first.published_at < timedelta(seconds=30)


async def test_no_more_than_the_prefetch_is_taken_from_the_queue(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(30))
        subscription = session.subscribe(QUEUE, prefetch=10)
        await _take(subscription, 10)
        await _depth_is(broker_url, 20)


async def test_prefetch_zero_would_be_no_bound(broker_url: str) -> None:
    session = BrokerSession(broker_url, name="test")
    with pytest.raises(ValueError, match="prefetch"):
        session.subscribe(QUEUE, prefetch=0)


async def test_only_what_is_acked_is_gone_after_the_consumer_left(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(10))
        taken = await _take(session.subscribe(QUEUE, prefetch=10), 10)
        subscription = session._subscriptions[0]
        assert isinstance(subscription, Subscription)
        await subscription.ack_up_to(taken[3])
        await subscription.ack(taken[7])
        await subscription.reject(taken[8], requeue=False)
    async with broker_session(broker_url) as session:
        again = await _take(session.subscribe(QUEUE, prefetch=10), 4)
        assert [_number(incoming) for incoming in again] == [4, 5, 6, 9]
        await _depth_is(broker_url, 0)


async def test_a_settlement_for_a_lost_channel_is_ignored_and_the_message_comes_again(
    broker_url: str,
) -> None:
    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(3))
        subscription = session.subscribe(QUEUE, prefetch=10)
        old = await _take(subscription, 3)
        session._links["consume"].recycle("test")
        again = await _take(subscription, 3)
        assert {incoming.generation for incoming in again} == {2}
        assert all(incoming.redelivered and incoming.delivery_count == 1 for incoming in again)
        assert not subscription.is_current(old[0])
        assert not await subscription.ack_up_to(old[2])
        assert await subscription.ack_up_to(again[0])
    await _depth_is(broker_url, 2)


async def test_a_settlement_that_waits_to_be_written_ends_with_its_channel_and_spares_the_next(
    broker_url: str,
) -> None:
    async with broker_session(broker_url) as session:
        await publish_numbers(session, range(1))
        subscription = session.subscribe(QUEUE, prefetch=10)
        (old,) = await _take(subscription, 1)
        assert subscription._kept.channel is not None
        subscription._kept.channel.write_queue = _line_that_nobody_empties()
        acking = asyncio.create_task(subscription.ack(old))
        session._links["consume"].recycle("test")
        async with asyncio.timeout(8):  # less than what a living connection is given
            assert not await acking
        (again,) = await _take(subscription, 1)
        assert again.generation == 2
        assert await subscription.ack(again)
    await _depth_is(broker_url, 0)


def _line_that_nobody_empties() -> asyncio.Queue[object]:
    line: asyncio.Queue[object] = asyncio.Queue(maxsize=1)
    line.put_nowait(b"")
    return line


async def test_a_paused_subscription_takes_nothing_even_after_a_reconnect(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        subscription = session.subscribe(QUEUE, prefetch=10)
        await session.wait_connected()
        await subscription.wait_consuming()
        await subscription.pause()
        assert not subscription.consuming
        await publish_numbers(session, range(3))
        session._links["consume"].recycle("test")

        async def reopened() -> bool:
            return subscription.generation == 2 and subscription._kept.is_open

        await eventually(reopened, seconds=10, what="the second channel")
        assert subscription.waiting == 0
        assert await depth(broker_url) == 3
        await subscription.resume()
        assert [_number(incoming) for incoming in await _take(subscription, 3)] == [0, 1, 2]


async def test_consuming_goes_on_when_the_queue_was_deleted_and_declared_again(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        subscription = session.subscribe(QUEUE, prefetch=10)
        await session.wait_connected()
        await subscription.wait_consuming()
        async with plain_channel(broker_url) as channel:
            await channel.queue_delete(QUEUE)

        async def noticed() -> bool:
            return not subscription.consuming

        await eventually(noticed, seconds=10, what="the end of the consumer")
        with pytest.raises(BrokerError, match=f"not consuming from {QUEUE}"):
            await session.ready()
        await declare(broker_url, topology=SMALL_TOPOLOGY)
        await publish_numbers(session, range(3))
        assert [_number(incoming) for incoming in await _take(subscription, 3)] == [0, 1, 2]
        await subscription.wait_consuming()
        await session.ready()


async def test_a_stopped_subscription_hands_out_nothing_more(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        subscription = session.subscribe(QUEUE, prefetch=10)
        waiting = asyncio.create_task(subscription.take(5))
        await asyncio.sleep(0)
        subscription.stop()
        async with asyncio.timeout(5):
            assert await waiting == []
