"""How much may be put into a queue, so that nobody has to wait long behind what is in it."""

import asyncio
from typing import Protocol

from carillon_shared.broker.admin import Admin
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.link import Link
from carillon_shared.broker.queues import queue_size

_ASK_SECONDS = 2.0


class Gauge(Protocol):
    """Tells how full a queue is."""

    async def ready(self) -> int:
        """Return how many messages wait that nobody has been given yet."""
        ...


class Room(Protocol):
    """What may be published now."""

    async def room(self) -> int:
        """Return how many messages there is room for; 0: ask again in a moment."""
        ...

    def fill(self, messages: int) -> None:
        """Note that so many were published."""
        ...


class QueueGauge:
    """Asks the broker how full a queue is. A queue that cannot be measured is empty, publishing tells why."""

    def __init__(self, link: Link, queue: str) -> None:
        self._link = link
        self._queue = queue
        self._admin: Admin | None = None

    async def ready(self) -> int:
        """Return how many messages wait that nobody has been given yet. Never raises what the broker does."""
        if not self._link.connected:
            return 0
        if self._admin is None:
            self._admin = Admin(await self._link.wire())
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                found = await queue_size(self._admin, self._queue)
        except (BrokerError, TimeoutError):
            admin, self._admin = self._admin, None
            if admin is not None:
                await admin.close()
            return 0
        return found.messages if found is not None else 0


class QueueWindow:
    """Lets a queue hold about `size` messages that nobody has been given yet.

    The broker is asked only when the room it left last time is used up, and there is room again when half
    the window is empty, so that batches stay large. Every process has a window of its own: together they may
    overshoot by one window each.
    """

    def __init__(self, gauge: Gauge, *, size: int) -> None:
        self._gauge = gauge
        self._size = size
        self._room = 0

    async def room(self) -> int:
        """Return how many messages there is room for."""
        if self._room <= 0:
            ready = await self._gauge.ready()
            self._room = self._size - ready if ready <= self._size // 2 else 0
        return self._room

    def fill(self, messages: int) -> None:
        """Note that so many were published."""
        self._room -= messages
