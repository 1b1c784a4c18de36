import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from carillon_shared.broker import (
    BrokerError,
    BrokerSession,
    NotConnectedError,
    PublishRefusedError,
    PublishUnconfirmedError,
    UnroutableError,
    declare,
)
from carillon_shared.topology.model import Binding, Exchange, Queue, Topology
from support.broker_queues import QUEUE, broker_session, depth, fetch, number_of, numbered
from support.waiting import eventually

_TINY = Topology(
    (Exchange("test.tiny", "direct"),),
    (Queue("test.tiny", {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}),),
    (Binding("test.tiny", "test.tiny", "key"),),
)


async def test_a_published_message_is_in_its_queue_with_its_properties(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        await session.publisher.publish(numbered(7))
    message = await fetch(broker_url, QUEUE)
    assert message is not None
    assert number_of(message.type, message.body) == 7
    assert (message.message_id, message.app_id) == ("m-7", "test")
    assert message.content_type == "application/json"
    assert message.delivery_mode == 2
    assert message.timestamp is not None
    assert datetime.now(UTC) - message.timestamp < timedelta(seconds=30)


async def test_results_are_aligned_with_what_was_published(broker_url: str) -> None:
    outgoings = [numbered(n, routing_key="nowhere" if n % 100 == 7 else "key") for n in range(1000)]
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        results = await session.publisher.publish_many(outgoings)
    failed = {n: type(result) for n, result in enumerate(results) if result is not None}
    assert failed == dict.fromkeys(range(7, 1000, 100), UnroutableError)
    assert all(result.message_id == f"m-{n}" for n, result in enumerate(results) if result is not None)
    assert await depth(broker_url) == 990


async def test_a_returned_message_is_an_error_that_names_its_way(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        with pytest.raises(UnroutableError, match=r"m-1: no queue for 'test.work' with key 'nowhere'"):
            await session.publisher.publish(numbered(1, routing_key="nowhere"))


async def test_copies_of_one_message_in_flight_each_get_their_own_answer(broker_url: str) -> None:
    copies = [numbered(1, routing_key=key) for key in ("nowhere", "nowhere", "key")]
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        results = await session.publisher.publish_many(copies)
    # The broker names only the message id of what it returns; the first two of three are the ones it meant.
    assert [type(result) for result in results] == [UnroutableError, UnroutableError, type(None)]


async def test_a_full_queue_refuses(broker_url: str) -> None:
    await declare(broker_url, topology=_TINY)
    async with BrokerSession(broker_url, name="test") as session:
        await session.publisher.wait_connected()

        async def refused() -> bool:  # the limit is kept only roughly
            results = await session.publisher.publish_many(
                [numbered(n, exchange="test.tiny") for n in range(20)]
            )
            return any(isinstance(result, PublishRefusedError) for result in results)

        await eventually(refused, seconds=10, what="a refusal")


async def test_publishes_of_many_tasks_share_the_channel(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        await asyncio.gather(*(session.publisher.publish(numbered(n)) for n in range(600)))
    assert await depth(broker_url) == 600


async def test_without_a_broker_a_publish_fails_at_once(unused_tcp_port: int) -> None:
    async with BrokerSession(f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/", name="test") as session:
        with pytest.raises(NotConnectedError):
            async with asyncio.timeout(1):
                await session.publisher.publish(numbered(1))
        with pytest.raises(BrokerError, match="no connection to publish"):
            await session.ready()


async def test_an_exchange_that_is_missing_leaves_the_outcome_unknown_and_the_publisher_working(
    broker_url: str,
) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        with pytest.raises(PublishUnconfirmedError):
            await session.publisher.publish(numbered(1, exchange="test.missing"))
        await session.publisher.wait_connected()

        async def published() -> bool:
            return await session.publisher.publish_many([numbered(2)]) == [None]

        await eventually(published, seconds=10, what="a publish after the channel was closed")


async def test_a_publisher_that_is_cancelled_leaves_no_trace(broker_url: str) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        for _ in range(5):
            task = asyncio.create_task(session.publisher.publish_many([numbered(n) for n in range(5000)]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        assert await session.publisher.publish_many([numbered(n) for n in range(600)]) == [None] * 600


async def test_a_lost_connection_ends_what_is_under_way_as_unconfirmed_and_comes_back(
    broker_url: str,
) -> None:
    async with broker_session(broker_url) as session:
        await session.publisher.wait_connected()
        changes: list[bool] = []
        session.on_change(lambda: changes.append(session.connected))
        task = asyncio.create_task(session.publisher.publish_many([numbered(n) for n in range(20_000)]))

        async def some_arrived() -> bool:
            return await depth(broker_url) > 100

        await eventually(some_arrived, seconds=10, what="messages")
        session._links["publish"].recycle("test")
        results = await task
        lost = [n for n, result in enumerate(results) if result is not None]
        assert lost
        assert all(isinstance(result, PublishUnconfirmedError) for result in results if result is not None)
        async with asyncio.timeout(10):
            await session.publisher.wait_connected()
        assert await session.publisher.publish_many([numbered(n) for n in lost]) == [None] * len(lost)
        assert changes == [False, True]
    arrived = await depth(broker_url)
    assert 20_000 <= arrived <= 20_000 + len(lost)
