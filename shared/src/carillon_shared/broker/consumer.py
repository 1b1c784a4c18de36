"""Consuming from one queue."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog
from aiormq.abc import AbstractConnection as WireConnection
from pamqp.commands import Basic

from carillon_shared.broker.cancellation import heed_cancellation, library_cancellation
from carillon_shared.broker.channels import KeptChannel, free_number, open_on
from carillon_shared.broker.deliveries import DeliveryChannel
from carillon_shared.broker.errors import ConnectionLostError
from carillon_shared.broker.incoming import Incoming, Settlements
from carillon_shared.broker.link import Link
from carillon_shared.telemetry import metrics

_RPC_SECONDS = 10.0
_SETTLE_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Subscription:
    """One queue on one broker channel, with at most `prefetch` messages not yet settled.

    Messages are kept in a local line until they are taken. When the channel is lost, those in the line are
    dropped and `on_lost` is called: the broker gives them out again, here or elsewhere.
    """

    def __init__(
        self, link: Link, queue: str, *, prefetch: int, on_lost: Callable[[], None] | None = None
    ) -> None:
        if prefetch < 1:
            raise ValueError("prefetch must be at least 1: 0 would mean no bound")
        self.queue = queue
        self._prefetch = prefetch
        self._link = link
        self._on_lost = on_lost
        self._received = metrics.CONSUMER_MESSAGES.labels(queue)
        self._line: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._paused = False
        self._stopped = False
        self._consumer_tag: str | None = None
        self._generation = 0
        self._newest_tag = 0
        self._is_settled: Callable[[], bool] = lambda: False
        self._switching = asyncio.Lock()
        self._kept = KeptChannel(link, what=queue, build=self._open, begin=self._begin, lost=self._lost)

    @property
    def generation(self) -> int:
        """Number of the broker channel that is, or was last, open."""
        return self._generation

    @property
    def ready(self) -> bool:
        """True while the channel is open and, unless paused, messages are being sent."""
        return self._kept.is_ready

    @property
    def consuming(self) -> bool:
        """True while the broker sends messages here."""
        return self._kept.is_ready and self._consumer_tag is not None

    @property
    def mark(self) -> tuple[int, int]:
        """Changes with every message that arrives, and with the channel."""
        return self._generation, self._newest_tag

    @property
    def owes_nothing(self) -> bool:
        """True when all that has arrived is settled, as far as `settled_when` tells."""
        return not self._line and self._is_settled()

    def settled_when(self, is_settled: Callable[[], bool]) -> None:
        """Ask this whether everything that was taken is settled. Until then nobody knows."""
        self._is_settled = is_settled

    @property
    def waiting(self) -> int:
        """How many messages are in the local line."""
        return len(self._line)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call this when the channel is lost, with everything that was not settled on it."""
        self._on_lost = callback

    def start(self) -> None:
        """Begin consuming, in the background."""
        self._kept.start()

    async def close(self) -> None:
        """Close the channel. Whatever is not settled goes back to the queue."""
        await self._kept.close()

    def renew(self, reason: str | None) -> None:
        """Begin anew on another channel; for no particular reason, without a word and at once.

        Whatever is not settled goes back to the queue.
        """
        self._kept.renew(reason)

    async def wait_consuming(self) -> None:
        """Return when the channel is open (and, unless paused, messages are being sent)."""
        await self._kept.wait_ready()

    async def take(self, limit: int) -> list[Incoming]:
        """Return up to `limit` messages, waiting for the first of them only; none once stopped."""
        while not self._line and not self._stopped:
            self._arrived.clear()
            await self._arrived.wait()
        return [] if self._stopped else self.take_waiting(limit)

    def take_waiting(self, limit: int) -> list[Incoming]:
        """Return up to `limit` messages that are here already."""
        return [self._line.popleft() for _ in range(min(limit, len(self._line)))]

    def stop(self) -> None:
        """Let every `take`, also those that wait now, return nothing."""
        self._stopped = True
        self._arrived.set()

    def is_current(self, incoming: Incoming) -> bool:
        """Return whether this message can still be settled."""
        return self._kept.is_open and incoming.generation == self._generation

    async def ack(self, incoming: Incoming) -> bool:
        """Accept this one message. Returns False when its channel is gone: it will come again."""
        return await self.settle(
            Settlements(singles=(incoming.delivery_tag,)), generation=incoming.generation
        )

    async def ack_up_to(self, incoming: Incoming) -> bool:
        """Accept this message and all before it that are open."""
        return await self.settle(Settlements(up_to=incoming.delivery_tag), generation=incoming.generation)

    async def reject(self, incoming: Incoming, *, requeue: bool) -> bool:
        """Give this message back to its queue, or to the dead letters."""
        tags = (incoming.delivery_tag,)
        settlements = Settlements(requeued=tags) if requeue else Settlements(dead_lettered=tags)
        return await self.settle(settlements, generation=incoming.generation)

    async def settle(self, settlements: Settlements, *, generation: int) -> bool:
        """Tell the broker about many at once. Returns False when their channel is gone."""
        if not settlements:
            return True
        channel = self._kept.channel
        if channel is None or generation != channel.generation:
            return self._too_late()
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await channel.settle(settlements)
        except ConnectionLostError:
            return self._too_late()
        except TimeoutError:
            if self._kept.channel is channel:  # else its connection is gone already, and the next one is good
                self._link.recycle("settlements cannot be written")
            return self._too_late()
        return True

    async def pause(self) -> None:
        """Stop new messages; those that are here stay. Lasts through reconnects, until `resume`."""
        self._paused = True
        async with self._switching:
            await self._apply()

    async def resume(self) -> None:
        """Take messages again."""
        self._paused = False
        async with self._switching:
            await self._apply()

    async def _apply(self) -> None:
        channel = self._kept.channel
        if channel is None or channel.is_closed:
            return  # the next one is opened as `_paused` says
        try:
            with library_cancellation():
                await self._switch(channel)
                heed_cancellation()
        except Exception as error:  # noqa: BLE001 - aiormq has closed the channel; the next one is right
            log.warning("consumer not switched", queue=self.queue, reason=str(error) or type(error).__name__)

    async def _switch(self, channel: DeliveryChannel) -> None:
        tag = self._consumer_tag
        if self._paused and tag is not None:
            self._consumer_tag = None
            await channel.basic_cancel(tag, timeout=_RPC_SECONDS)
        elif not self._paused and tag is None:
            self._consumer_tag = await channel.consume(self.queue)

    async def _open(self, wire: WireConnection) -> DeliveryChannel:
        self._generation += 1
        self._newest_tag = 0
        self._consumer_tag = None
        channel = await open_on(
            DeliveryChannel(wire, free_number(wire), generation=self._generation, deliver=self._deliver)
        )
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        await channel.basic_qos(prefetch_count=self._prefetch, timeout=_RPC_SECONDS)
        return channel

    async def _begin(self, channel: DeliveryChannel) -> None:
        async with self._switching:
            await self._switch(channel)

    def _deliver(self, incoming: Incoming) -> None:
        self._line.append(incoming)
        self._newest_tag = incoming.delivery_tag
        self._arrived.set()
        self._received.inc()
        if incoming.redelivered:
            metrics.CONSUMER_REDELIVERED.labels(self.queue).inc()

    def _lost(self, _channel: DeliveryChannel) -> None:
        self._line.clear()
        self._consumer_tag = None
        if self._on_lost is not None:
            self._on_lost()

    def _cancelled(self, _frame: Basic.Cancel) -> None:
        self.renew("the broker ended the consumer: the queue was deleted, or its leader moved")

    def _too_late(self) -> bool:
        metrics.CONSUMER_LATE_SETTLES.labels(self.queue).inc()
        return False
