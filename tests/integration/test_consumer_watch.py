"""Subscriptions that the broker has forgotten begin anew, and no others."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import aio_pika
import pytest
from carillon_shared.broker import BrokerSession, declare
from carillon_shared.broker.consumer import Subscription
from carillon_shared.broker.consumer_watch import ConsumerWatch
from carillon_shared.clock import SystemClock
from carillon_shared.consumer.settlement import Ack
from carillon_shared.consumer.source import MessageSource
from pamqp.common import FieldTable
from support.broker_queues import QUEUE, SMALL_TOPOLOGY, plain_channel
from support.waiting import eventually

IDLE_SECONDS = 0.3


@pytest.fixture
async def subscription(broker_url: str) -> AsyncIterator[Subscription]:
    await declare(broker_url, topology=SMALL_TOPOLOGY)
    async with BrokerSession(broker_url, name="test") as session:
        subscription = session.subscribe(QUEUE, prefetch=10)
        await subscription.wait_consuming()
        yield subscription


def _watch(*subscriptions: Subscription, idle_seconds: float = IDLE_SECONDS) -> ConsumerWatch:
    return ConsumerWatch(lambda: subscriptions, clock=SystemClock(), idle_seconds=idle_seconds)


async def _publish(broker_url: str) -> None:
    async with plain_channel(broker_url) as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), QUEUE)


async def _delete_and_declare(broker_url: str) -> None:
    (queue,) = [queue for queue in SMALL_TOPOLOGY.queues if queue.name == QUEUE]
    async with plain_channel(broker_url) as channel:
        await channel.queue_delete(QUEUE)
        arguments = cast("FieldTable", dict(queue.arguments))
        await channel.declare_queue(QUEUE, durable=True, arguments=arguments)


async def test_a_queue_deleted_and_declared_again_at_once_is_taken_up(
    broker_url: str, subscription: Subscription
) -> None:
    """The broker says nothing, and gives the messages to a consumer that does not get them."""
    source = MessageSource(subscription)
    await _delete_and_declare(broker_url)
    await _publish(broker_url)
    watch = _watch(subscription)

    async def arrived() -> bool:
        watch.look(())
        return bool(subscription.waiting)

    await eventually(arrived, seconds=30, what="the message that the broker kept back")
    (incoming,) = await source.get_batch(1)
    await source.settle(incoming, Ack())


async def test_a_queue_that_has_been_mended_is_taken_up_without_waiting_for_idleness(
    broker_url: str, subscription: Subscription
) -> None:
    await _delete_and_declare(broker_url)
    await _publish(broker_url)
    watch = _watch(subscription, idle_seconds=3600)
    watch.look({QUEUE})
    watch.look(())
    async with asyncio.timeout(20):
        (incoming,) = await subscription.take(1)
    assert await subscription.ack(incoming)


async def test_who_has_something_in_hand_is_left_alone(broker_url: str, subscription: Subscription) -> None:
    source, first = MessageSource(subscription), subscription.generation
    await _publish(broker_url)
    (incoming,) = await source.get_batch(1)
    watch = _watch(subscription, idle_seconds=0)
    for _ in range(3):
        watch.look(())
    await source.settle(incoming, Ack())  # raises nothing, on the channel that it came from
    assert subscription.generation == first
    watch.look(())

    async def renewed() -> bool:
        return subscription.generation > first and subscription.consuming

    await eventually(renewed, seconds=20, what="the idle subscription to begin anew")
