"""Queues for tests, and a look into them through aio-pika's own calls."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from carillon_shared.broker import BrokerSession, Outgoing, declare
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import RangePlanned
from carillon_shared.topology.model import Binding, Exchange, Queue, Topology

EXCHANGE = "test.work"
QUEUE = "test.work.queue"
KEY = "key"
DEAD_QUEUE = "test.dead.queue"
EVENT = UUID(int=1)

_SAFE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
SMALL_TOPOLOGY = Topology(
    (Exchange(EXCHANGE, "direct"), Exchange("test.dead", "topic")),
    (
        Queue(
            QUEUE,
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": 20,
                "x-dead-letter-exchange": "test.dead",
                **_SAFE,
            },
        ),
        Queue(DEAD_QUEUE, {"x-queue-type": "quorum"}),
    ),
    (Binding(EXCHANGE, QUEUE, KEY), Binding("test.dead", DEAD_QUEUE, "#")),
)
"""One work queue whose rejected messages go to a dead queue."""


def numbered(number: int, *, routing_key: str = KEY, exchange: str = EXCHANGE) -> Outgoing:
    """Return a message that carries a number."""
    return Outgoing(exchange, routing_key, RangePlanned(event_id=EVENT, n=number), f"m-{number}")


def number_of(message_type: str | None, body: bytes) -> int:
    """Return the number a message carries."""
    message = decode(message_type, body)
    assert isinstance(message, RangePlanned)
    return message.n


@asynccontextmanager
async def broker_session(url: str) -> AsyncIterator[BrokerSession]:
    """Give a started session on a broker that has the small topology."""
    await declare(url, topology=SMALL_TOPOLOGY)
    async with BrokerSession(url, name="test", confirm_timeout=5.0) as session:
        yield session


async def publish_numbers(session: BrokerSession, numbers: Sequence[int]) -> None:
    """Publish these numbers and wait until the broker has them."""
    await session.publisher.wait_connected()
    results = await session.publisher.publish_many([numbered(number) for number in numbers])
    assert results == [None] * len(numbers)


@asynccontextmanager
async def plain_channel(url: str) -> AsyncIterator[AbstractChannel]:
    """Give a channel of aio-pika, as other programs would use it."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        yield await connection.channel()


async def depth(url: str, queue: str = QUEUE) -> int:
    """Return how many messages wait in a queue, not counting those that a consumer holds."""
    async with plain_channel(url) as channel:
        found = await channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0


async def fetch(url: str, queue: str) -> AbstractIncomingMessage | None:
    """Take one message out of a queue, None when it is empty."""
    async with plain_channel(url) as channel:
        found = await channel.get_queue(queue, ensure=False)
        return await found.get(no_ack=True, fail=False)
