"""Messages of one queue: taken in batches, settled in any order."""

import asyncio
from collections.abc import Iterable
from datetime import datetime

from carillon_shared.broker.consumer import Subscription
from carillon_shared.broker.incoming import Incoming, Settlements
from carillon_shared.consumer.ack_window import AckWindow
from carillon_shared.consumer.settlement import Ack, DeadLetter, Settlement
from carillon_shared.telemetry import metrics

EVERYTHING = 1_000_000
"""More than can ever have arrived."""


class MessageSource:
    """What a worker takes from and settles with.

    Settlements for a channel that has been lost meanwhile are dropped: the broker gives those messages out
    again. So everything done for a message must bear being done twice.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._window = AckWindow()
        self._generation = 0
        self._newest: datetime | None = None
        self._draining = False
        self._writing = asyncio.Lock()
        start_consumer_metrics(subscription.queue)
        subscription.settled_when(lambda: not len(self._window))

    @property
    def queue(self) -> str:
        """Name of the queue."""
        return self._subscription.queue

    @property
    def newest_published_at(self) -> datetime | None:
        """Publish time of the newest message taken: the queue's watermark, None before the first."""
        return self._newest

    @property
    def open_messages(self) -> int:
        """How many messages were taken and are not settled, or wait for an older one."""
        return len(self._window)

    @property
    def draining(self) -> bool:
        """True once `drain` was called: what is not begun should be requeued."""
        return self._draining

    def start(self) -> None:
        """Begin consuming, in the background."""
        self._subscription.start()

    async def wait_ready(self) -> None:
        """Return when the broker channel is open and, unless paused, messages are being sent."""
        await self._subscription.wait_consuming()

    async def get_batch(self, limit: int, *, wait: float | None = None) -> list[Incoming]:
        """Return up to `limit` messages: whatever has arrived, waiting only for the first of them.

        Returns nothing when none came within `wait` seconds (None: no limit), or once draining.
        """
        try:
            async with asyncio.timeout(wait):
                batch = await self._subscription.take(limit)
        except TimeoutError:
            return []
        for incoming in batch:
            self._receive(incoming)
        return batch

    def is_current(self, incoming: Incoming) -> bool:
        """Return whether this message is still ours to settle."""
        return self._subscription.is_current(incoming)

    async def settle(self, incoming: Incoming, settlement: Settlement) -> None:
        """Settle one message."""
        await self.settle_many([(incoming, settlement)])

    async def settle_many(self, settled: Iterable[tuple[Incoming, Settlement]]) -> None:
        """Settle these with one write to the broker.

        Raises ``ValueError`` when one of them was settled before: its handler lost count.
        """
        for incoming, settlement in settled:
            if incoming.generation == self._generation:
                self._window.settle(incoming.delivery_tag, settlement)
                _count(self.queue, settlement)
            else:
                metrics.CONSUMER_LATE_SETTLES.labels(self.queue).inc()
        async with self._writing:  # two writers in the wrong order would ack a tag that is acked already
            told, generation = self._window.take(), self._generation
            await self._subscription.settle(told, generation=generation)

    async def pause(self) -> None:
        """Take no new messages, through reconnects too; those that are here stay."""
        await self._subscription.pause()

    async def resume(self) -> None:
        """Take messages again."""
        if not self._draining:
            await self._subscription.resume()

    async def drain(self) -> None:
        """Stop consuming and give back what was not taken yet. What was taken can still be settled."""
        self._draining = True
        self._subscription.stop()
        await self._subscription.pause()
        untouched = self._subscription.take_waiting(EVERYTHING)
        if untouched:
            tags = tuple(incoming.delivery_tag for incoming in untouched)
            await self._subscription.settle(Settlements(requeued=tags), generation=untouched[-1].generation)

    async def close(self) -> None:
        """Close the broker channel. What was taken and not settled goes back to the queue."""
        await self._subscription.close()

    def _receive(self, incoming: Incoming) -> None:
        if incoming.generation != self._generation:
            self._generation = incoming.generation
            self._window = AckWindow()
        self._window.receive(incoming.delivery_tag)
        published = incoming.published_at
        if published is not None and (self._newest is None or published > self._newest):
            self._newest = published


def start_consumer_metrics(queue: str) -> None:
    """Export at zero what a consumer of this queue counts."""
    of_queue = (queue,)
    metrics.start_at_zero(metrics.CONSUMER_REDELIVERED, queue=of_queue)
    metrics.start_at_zero(metrics.CONSUMER_LATE_SETTLES, queue=of_queue)
    metrics.start_at_zero(metrics.CONSUMER_SETTLED, queue=of_queue, settlement=metrics.SETTLEMENTS)


def _count(queue: str, settlement: Settlement) -> None:
    match settlement:
        case Ack():
            name = "ack"
        case DeadLetter():
            name = "dead_letter"
        case _:
            name = "requeue"
    metrics.CONSUMER_SETTLED.labels(queue, name).inc()
