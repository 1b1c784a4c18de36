"""A stranger on the broker who copies every message of every kind, at once or late and out of order.

    async with duplicating(platform, copies=10, latest=2.0) as duplicator, traffic(platform) as flow:
        ...

Copies are marked, so that they are not copied themselves. Retries come past when they return to their lane.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import DEAD, EVENTS, FANOUT, LIVE, WORK
from support.platform import Platform

_MARK = "copy"
_CONNECT_SECONDS = 10.0
_BINDINGS = {
    EVENTS.name: ["#"],
    FANOUT.name: [lane.value for lane in Lane],
    WORK.name: ["#"],
    DEAD.name: ["#"],
    LIVE.name: [""],
}


class Duplicator:
    """Sees everything that passes; `seen` counts the messages by type, `kept` has all of them."""

    def __init__(self, channel: AbstractChannel, *, copies: int, latest: float, seed: int) -> None:
        self._channel = channel
        self._copies = copies
        self._latest = latest
        self._draw = random.Random(seed)  # noqa: S311 -- when a copy comes is no secret
        self._exchanges: dict[str, AbstractExchange] = {}
        self._late: set[asyncio.Task[None]] = set()
        self.seen: Counter[str] = Counter()
        self.kept: list[AbstractIncomingMessage] = []

    async def begin(self) -> None:
        """Listen to every exchange."""
        queue = await self._channel.declare_queue(exclusive=True)
        for name, keys in _BINDINGS.items():
            self._exchanges[name] = await self._channel.get_exchange(name, ensure=False)
            for key in keys:
                await queue.bind(name, routing_key=key)
        await queue.consume(self._see, no_ack=True)

    async def finish(self) -> None:
        """Return when the last copy has been published."""
        while self._late:
            await asyncio.gather(*self._late)

    async def repeat_all(self) -> int:
        """Publish everything that was kept once more, in another order; return how much that was."""
        messages = list(self.kept)
        self._draw.shuffle(messages)
        for message in messages:
            await self._publish(message)
        return len(messages)

    async def _see(self, message: AbstractIncomingMessage) -> None:
        if _MARK in (message.headers or {}):
            return
        self.seen[message.type or "?"] += 1
        self.kept.append(message)
        for _ in range(self._copies - 1):
            task = asyncio.create_task(self._copy(message, self._draw.uniform(0, self._latest)))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _copy(self, message: AbstractIncomingMessage, delay: float) -> None:
        await asyncio.sleep(delay)
        await self._publish(message)

    async def _publish(self, message: AbstractIncomingMessage) -> None:
        copy = aio_pika.Message(
            message.body,
            type=message.type,
            message_id=message.message_id,
            timestamp=message.timestamp,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers={_MARK: 1},
        )
        exchange = self._exchanges[message.exchange or ""]
        await exchange.publish(copy, message.routing_key or "", mandatory=False)


@asynccontextmanager
async def duplicating(
    platform: Platform, *, copies: int, latest: float = 0.0, seed: int = 1
) -> AsyncIterator[Duplicator]:
    """Copy everything for as long as the context lasts, `copies` of each in all.

    Copies come up to `latest` seconds after the message.
    """
    connection = await aio_pika.connect(platform.addresses.broker_url, timeout=_CONNECT_SECONDS)
    async with connection:
        channel = await connection.channel(publisher_confirms=False)
        duplicator = Duplicator(channel, copies=copies, latest=latest, seed=seed)
        await duplicator.begin()
        yield duplicator
        await duplicator.finish()
