"""Listening to what is only shown now: a queue of one's own that may lose messages."""

import asyncio
from collections import deque
from collections.abc import Callable
from uuid import uuid4

from aiormq.abc import AbstractConnection as WireConnection
from pamqp.common import FieldTable

from carillon_shared.broker.channels import KeptChannel, free_number, open_on
from carillon_shared.broker.deliveries import DeliveryChannel
from carillon_shared.broker.incoming import Incoming
from carillon_shared.broker.link import Link
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import LIVE

_LABEL = LIVE.name  # of metrics: the replicas' own queues have names without end
_RPC_SECONDS = 10.0


class LiveSubscription:
    """An exclusive queue bound to an exchange; made anew with every connection.

    `on_gap` is called whenever messages may have been missed: after a reconnect, once the new queue is bound,
    and when more arrive than `max_length` before they are taken. The database then tells what they said.
    """

    def __init__(
        self, link: Link, exchange: str, *, on_gap: Callable[[], None], max_length: int = 10_000
    ) -> None:
        self.queue = f"{exchange} (live)"
        self._exchange = exchange
        self._on_gap = on_gap
        self._max_length = max_length
        self._line: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._generation = 0
        self._overflowing = False
        self._kept = KeptChannel(link, what=self.queue, build=self._open, begin=self._begin, lost=self._lost)

    @property
    def ready(self) -> bool:
        """True while messages are being sent here."""
        return self._kept.is_ready

    def start(self) -> None:
        """Begin listening, in the background."""
        self._kept.start()

    async def close(self) -> None:
        """Stop; the broker deletes the queue."""
        await self._kept.close()

    async def wait_consuming(self) -> None:
        """Return when the queue is bound."""
        await self._kept.wait_ready()

    async def take(self, limit: int) -> list[Incoming]:
        """Return up to `limit` messages, waiting for the first of them only. They need no ack."""
        while not self._line:
            self._arrived.clear()
            await self._arrived.wait()
        taken = [self._line.popleft() for _ in range(min(limit, len(self._line)))]
        self._overflowing = False
        return taken

    async def _open(self, wire: WireConnection) -> DeliveryChannel:
        self._generation += 1
        return await open_on(
            DeliveryChannel(wire, free_number(wire), generation=self._generation, deliver=self._deliver)
        )

    async def _begin(self, channel: DeliveryChannel) -> None:
        # A new name each time: the broker may not have noticed yet that the old owner is gone.
        queue = f"{self._exchange}.{uuid4().hex}"
        await channel.queue_declare(
            queue, exclusive=True, auto_delete=True, arguments=self._arguments(), timeout=_RPC_SECONDS
        )
        await channel.queue_bind(queue, self._exchange, timeout=_RPC_SECONDS)
        await channel.consume(queue, no_ack=True)
        if self._generation > 1:
            self._on_gap()

    def _arguments(self) -> FieldTable:
        return {"x-queue-type": "classic", "x-max-length": self._max_length, "x-overflow": "drop-head"}

    def _deliver(self, incoming: Incoming) -> None:
        metrics.CONSUMER_MESSAGES.labels(_LABEL).inc()
        if len(self._line) >= self._max_length:
            self._line.popleft()
            self._overflowed()
        self._line.append(incoming)
        self._arrived.set()

    def _overflowed(self) -> None:
        if not self._overflowing:  # once for each time it fills, not for each message
            self._overflowing = True
            self._on_gap()

    def _lost(self, _channel: DeliveryChannel) -> None:
        self._overflowing = False
