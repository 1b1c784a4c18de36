"""Messages that no service of ours would publish: put into queues as they are, by aio-pika's own calls."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from carillon_shared.contracts.codec import UndecodableMessageError, decode, encode
from carillon_shared.contracts.messages import Message, WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.waiting import eventually

_CONNECT_SECONDS = 10
_CHUNKS = """
    SELECT d.event_id, t.slug, d.channel, d.lane, array_agg(d.id ORDER BY d.id) AS ids
    FROM carillon.deliveries d JOIN carillon.tenants t ON t.id = d.tenant_id
    WHERE d.event_id = $1 AND d.channel = $2::text::carillon.channel
    GROUP BY d.event_id, t.slug, d.channel, d.lane
"""


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as bytes, with the AMQP properties that our readers look at."""

    body: bytes
    type: str | None = None
    message_id: str | None = None
    headers: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HandMade:
    """Publishes and looks into queues, on one channel with confirms."""

    channel: AbstractChannel

    async def put(self, queue: str, raw: Raw, *, copies: int = 1) -> None:
        """Put a message straight into a queue, so many times."""
        for _ in range(copies):
            await self.channel.default_exchange.publish(_message(raw), routing_key=queue)

    async def put_to(self, exchange: str, routing_key: str, raw: Raw) -> None:
        """Publish a message to an exchange, whether or not any queue takes it."""
        target = await self.channel.get_exchange(exchange, ensure=False)
        await target.publish(_message(raw), routing_key=routing_key, mandatory=False)

    async def send(self, queue: str, message: Message, *, copies: int = 1) -> None:
        """Put one of our own messages into a queue, so many times."""
        await self.put(queue, Raw(encode(message), message.TYPE, str(uuid4())), copies=copies)

    async def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue, not counting those that a consumer holds."""
        found = await self.channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def empty(self, *queues: str, seconds: float = 60.0) -> None:
        """Wait until nothing waits in these queues."""

        async def look() -> bool:
            return all([await self.depth(queue) == 0 for queue in queues])

        await eventually(look, seconds=seconds, what=f"{', '.join(queues)} to be empty")

    async def drain(self, queue: str) -> list[Message | None]:
        """Take everything out of a queue; None stands for what cannot be read."""
        return [_read(message) for message in await self._taken(queue, no_ack=True)]

    async def look_into(self, queue: str) -> list[Message | None]:
        """Return what waits in a queue and leave it there; None stands for what cannot be read."""
        taken = await self._taken(queue, no_ack=False)
        for message in taken:
            await message.nack(requeue=True)
        return [_read(message) for message in taken]

    async def _taken(self, queue: str, *, no_ack: bool) -> list[AbstractIncomingMessage]:
        source = await self.channel.get_queue(queue, ensure=False)
        found = []
        while (message := await source.get(no_ack=no_ack, fail=False)) is not None:
            found.append(message)
        return found


def _read(message: AbstractIncomingMessage) -> Message | None:
    try:
        return decode(message.type, message.body)
    except UndecodableMessageError:
        return None


def _message(raw: Raw) -> aio_pika.Message:
    return aio_pika.Message(
        raw.body,
        type=raw.type,
        message_id=raw.message_id,
        headers=dict(raw.headers or {}),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


@asynccontextmanager
async def hand_made(url: str) -> AsyncIterator[HandMade]:
    """Connect as a stranger who may publish anything."""
    connection = await aio_pika.connect(url, timeout=_CONNECT_SECONDS)
    async with connection:
        yield HandMade(await connection.channel(publisher_confirms=True))


async def chunk_of(pool: Pool, event: UUID | str, channel: Channel, *, attempt: int = 1) -> WorkChunk:
    """Return the work message of all of an event's deliveries over one channel."""
    row = await pool.fetchrow(_CHUNKS, UUID(str(event)), channel.value)
    assert row is not None, f"event {event} has no deliveries over {channel}"
    return WorkChunk(
        event_id=row["event_id"],
        tenant=row["slug"],
        channel=channel,
        lane=Lane(row["lane"]),
        attempt=attempt,
        delivery_ids=row["ids"],
    )
