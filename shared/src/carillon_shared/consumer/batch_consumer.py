"""Runs a handler on everything that arrives in some queues."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from carillon_shared.broker.session import BrokerSession
from carillon_shared.consumer.fair_source import FairSource, PortionOf
from carillon_shared.consumer.handling import BatchHandling, Handler, PoisonHandler
from carillon_shared.consumer.source import MessageSource
from carillon_shared.consumer.suspects import with_head_start
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much a consumer takes at a time, per queue."""

    prefetch: int  # messages that may be here unsettled; two to four times `max_batch`, more for turns
    max_batch: int  # most messages of one handler call
    max_items: int | None = None  # a batch is enough once it carries so many; needs `portion_of`
    concurrency: int = 1  # handler calls under way at a time
    drain_timeout: float = 20.0  # seconds that calls under way may still take when stopping


class BatchConsumer:
    """Self-clocked micro-batches: one handler call takes whatever arrived while the last one ran.

    Args:
        session: the broker; must be started.
        queues: each gets a broker channel of its own.
        limits: how much at a time.
        handler: gets messages of one queue and returns one settlement for each, in the same order.
        on_poison: stores a message that cannot be read; it is acked afterwards.
        is_transient: tells errors that pass by themselves (database away) from bugs.
        portion_of: whose a message is; then the tenants take turns within what is here.
    """

    def __init__(
        self,
        session: BrokerSession,
        queues: Sequence[str],
        *,
        limits: BatchLimits,
        handler: Handler,
        on_poison: PoisonHandler,
        is_transient: Callable[[BaseException], bool],
        portion_of: PortionOf | None = None,
    ) -> None:
        metrics.start_at_zero(metrics.CONSUMER_FAILURES, queue=queues, kind=metrics.CONSUMER_FAILURE_KINDS)
        metrics.start_at_zero(metrics.CONSUMER_BATCH_SIZE, queue=queues)
        metrics.start_at_zero(metrics.CONSUMER_HANDLER_SECONDS, queue=queues)
        subscriptions = [session.subscribe(queue, prefetch=limits.prefetch) for queue in queues]
        self.sources = [
            MessageSource(one)
            if portion_of is None
            else FairSource(one, portion_of=portion_of, max_items=limits.max_items)
            for one in subscriptions
        ]
        self._limits = limits
        self._handler = handler
        self._on_poison = on_poison
        self._is_transient = is_transient
        self._stopping = asyncio.Event()

    async def run(self, shutdown: Shutdown) -> None:
        """Consume until the shutdown is requested, then drain and return.

        Raises whatever a failure outside the handler raises; the process should then end.
        """
        loops = [
            asyncio.create_task(self._consume(source), name=f"consume-{source.queue}-{number}")
            for source in self.sources
            for number in range(self._limits.concurrency)
        ]
        stop = asyncio.create_task(shutdown.wait())
        try:
            await asyncio.wait([stop, *loops], return_when=asyncio.FIRST_COMPLETED)
            await self._drain(loops)
        finally:
            for task in (stop, *loops):
                task.cancel()
            await asyncio.gather(stop, *loops, return_exceptions=True)
            await asyncio.gather(*(source.close() for source in self.sources))

    async def _consume(self, source: MessageSource) -> None:
        handling = BatchHandling(
            source,
            handler=self._handler,
            on_poison=self._on_poison,
            is_transient=self._is_transient,
            stopping=self._stopping,
        )
        most = self._limits.max_batch
        while batch := await source.get_batch(most):
            await handling.handle(await with_head_start(source, batch, limit=most))

    async def _drain(self, loops: list[asyncio.Task[None]]) -> None:
        self._stopping.set()
        await asyncio.gather(*(source.drain() for source in self.sources))
        done, late = await asyncio.wait(loops, timeout=self._limits.drain_timeout)
        if late:
            log.warning("stopped before every batch was handled", batches=len(late))
        for task in done:
            task.result()
