"""Wires a channel worker together: what every worker with a provider has in common."""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

from carillon_shared.broker.session import BrokerSession
from carillon_shared.clock import SystemClock
from carillon_shared.consumer.source import MessageSource
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.attempt import Attempts
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.engine import DeliveryEngine
from carillon_shared.delivery.intake import ChunkIntake
from carillon_shared.delivery.poison import PoisonStore
from carillon_shared.delivery.provider import Composer, Provider
from carillon_shared.delivery.store import WorkStore
from carillon_shared.delivery.watermark import WatermarkWriter
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service, process_name
from carillon_shared.topology.carillon import work_queue

MessageT = TypeVar("MessageT")

PREFETCH = {Lane.CRITICAL: 256, Lane.NORMAL: 1024, Lane.BULK: 16}
"""Messages per lane that may be here unsettled. Bulk messages are large chunks, so a few are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelWorker(Generic[MessageT]):
    """A channel, the provider that carries it, and how hard it may be worked.

    `concurrency` is the number of calls open at once, `attempt_limit` the seconds one may take.
    """

    channel: Channel
    compose: Composer[MessageT]
    provider: Provider[MessageT]
    concurrency: int
    attempt_limit: float


async def run_worker(worker: ChannelWorker[MessageT], service: Service, shutdown: Shutdown) -> None:
    """Run until the shutdown is requested, then finish what is under way and return.

    The broker may be away at any time, the database once the worker has started.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(worker.provider.aclose)
        pool, session = await service.open(stack, f"{worker.channel}-worker", shutdown)
        sources = [
            MessageSource(session.subscribe(work_queue(worker.channel, lane), prefetch=PREFETCH[lane]))
            for lane in Lane
        ]
        engine = _engine(worker, pool, session)
        intakes = _intakes(worker, sources, pool, engine)
        await session.start()
        await _run(
            engine, intakes, sources, WatermarkWriter(pool, sources, consumer=process_name()), shutdown
        )


def _engine(worker: ChannelWorker[MessageT], pool: Pool, session: BrokerSession) -> DeliveryEngine:
    return DeliveryEngine(
        store=WorkStore(pool, holder=process_name(), provider=worker.provider.name),
        attempts=Attempts(compose=worker.compose, provider=worker.provider, limit=worker.attempt_limit),
        publisher=session.publisher,
        concurrency=worker.concurrency,
        attempt_limit=worker.attempt_limit,
        clock=SystemClock(),
    )


def _intakes(
    worker: ChannelWorker[MessageT], sources: Sequence[MessageSource], pool: Pool, engine: DeliveryEngine
) -> list[ChunkIntake]:
    catalogue = Catalogue(pool, channel=worker.channel, clock=SystemClock())
    poison = PoisonStore(pool)
    return [
        ChunkIntake(source, load_events=catalogue.load, poison=poison, admit=engine.admit)
        for source in sources
    ]


async def _run(
    engine: DeliveryEngine,
    intakes: Sequence[ChunkIntake],
    sources: Sequence[MessageSource],
    watermarks: WatermarkWriter,
    shutdown: Shutdown,
) -> None:
    """Run until the shutdown is requested. The first part that fails ends all: a supervisor starts afresh."""
    shutdown.on_request(engine.drain)
    working = asyncio.create_task(engine.run(), name="engine")
    helping = [asyncio.create_task(intake.run(), name="intake") for intake in intakes]
    helping.append(asyncio.create_task(watermarks.run(), name="watermarks"))
    stopping = asyncio.create_task(shutdown.wait(), name="shutdown")
    try:
        done, _ = await asyncio.wait([working, stopping, *helping], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await asyncio.gather(*(source.drain() for source in sources))
        await working
        await engine.settled()
    finally:
        for task in (working, stopping, *helping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(working, stopping, *helping, return_exceptions=True)
