"""Wires a channel worker together: what every worker with a provider has in common."""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from carillon_shared.broker.session import BrokerSession
from carillon_shared.clock import SystemClock
from carillon_shared.consumer.source import MessageSource
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.attempt import Attempts
from carillon_shared.delivery.breaker import BreakerPolicy, CircuitBreaker
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.channel_control import Consumption, PauseWatch
from carillon_shared.delivery.counting import start_delivery_metrics
from carillon_shared.delivery.engine import DeliveryEngine
from carillon_shared.delivery.failover import Providers
from carillon_shared.delivery.guard import Guard
from carillon_shared.delivery.intake import ChunkIntake
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.delivery.poison import PoisonStore
from carillon_shared.delivery.provider import Composer, Provider
from carillon_shared.delivery.rate_limit import TokenBucket
from carillon_shared.delivery.store import WorkStore
from carillon_shared.delivery.watermark import WatermarkWriter
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service, process_name
from carillon_shared.topology.carillon import work_queue
from carillon_shared.topology.needs import needs_of_worker

MessageT = TypeVar("MessageT")

PREFETCH = {Lane.CRITICAL: 256, Lane.NORMAL: 1024, Lane.BULK: 16}
"""Messages per lane that may be here unsettled. Bulk messages are large chunks, so a few are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelWorker(Generic[MessageT]):
    """A channel, the provider that carries it, and how hard it may be worked.

    `concurrency` is the number of calls open at once, `attempt_limit` the seconds one may take. `fallback`
    stands in while `provider` takes nothing. Each gets at most `rate_per_second` calls; 0 is no limit.
    """

    channel: Channel
    compose: Composer[MessageT]
    provider: Provider[MessageT]
    concurrency: int
    attempt_limit: float
    fallback: Provider[MessageT] | None = None
    rate_per_second: float = 0.0
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


async def run_worker(worker: ChannelWorker[MessageT], service: Service, shutdown: Shutdown) -> None:
    """Run until the shutdown is requested, then finish what is under way and return.

    The broker may be away at any time, the database once the worker has started.
    """
    async with AsyncExitStack() as stack:
        providers = providers_of(worker)
        stack.push_async_callback(providers.aclose)
        pool, session = await service.open(
            stack, f"{worker.channel}-worker", shutdown, needs=needs_of_worker(worker.channel)
        )
        start_delivery_metrics(worker.channel)
        sources = [
            MessageSource(session.subscribe(work_queue(worker.channel, lane), prefetch=PREFETCH[lane]))
            for lane in Lane
        ]
        engine = _engine(worker, providers, pool, session)
        intakes = _intakes(worker, sources, pool, engine)
        helping = await _control(worker.channel, pool, sources, providers, engine)
        watermarks = WatermarkWriter(pool, sources, consumer=process_name())
        await session.start()
        await _run(engine, sources, [*(i.run() for i in intakes), watermarks.run(), *helping], shutdown)


def providers_of(worker: ChannelWorker[MessageT]) -> Providers[MessageT]:
    """Return the providers of a worker, each with a breaker and a rate limit of its own."""
    clock = SystemClock()
    chosen = [worker.provider] if worker.fallback is None else [worker.provider, worker.fallback]
    guards = [
        Guard(
            provider,
            channel=worker.channel,
            breaker=CircuitBreaker(worker.breaker),
            bucket=TokenBucket(worker.rate_per_second) if worker.rate_per_second else None,
            clock=clock,
        )
        for provider in chosen
    ]
    return Providers(guards, clock=clock)


def _engine(
    worker: ChannelWorker[MessageT], providers: Providers[MessageT], pool: Pool, session: BrokerSession
) -> DeliveryEngine:
    calls = 1 if worker.fallback is None else 2  # that one attempt may make
    return DeliveryEngine(
        store=WorkStore(pool, holder=process_name()),
        attempts=Attempts(compose=worker.compose, providers=providers, limit=worker.attempt_limit),
        providers=providers,
        publisher=session.publisher,
        concurrency=worker.concurrency,
        attempt_limit=worker.attempt_limit * calls,
        clock=session.clock,
    )


def _intakes(
    worker: ChannelWorker[MessageT], sources: Sequence[MessageSource], pool: Pool, engine: DeliveryEngine
) -> list[ChunkIntake]:
    catalogue = Catalogue(pool, channel=worker.channel, clock=SystemClock())
    poison, moved = PoisonStore(pool), MovedLetters(pool)
    return [
        ChunkIntake(source, load_events=catalogue.load, poison=poison, moved=moved, admit=engine.admit)
        for source in sources
    ]


async def _control(
    channel: Channel,
    pool: Pool,
    sources: Sequence[MessageSource],
    providers: Providers[MessageT],
    engine: DeliveryEngine,
) -> list[Awaitable[None]]:
    """Return what keeps the worker to the operators' word and to its breakers. Knows the word already."""

    def wanted() -> bool:
        # Probes go with what is here. Only when there is nothing, something is taken for them.
        return providers.takes_work or (providers.could_begin and not engine.waiting)

    def changed(paused: bool) -> None:  # noqa: FBT001 - the signature of a callback
        providers.paused = paused
        engine.wake()

    watch = PauseWatch(pool, channel=channel)
    watch.on_change(changed)
    await watch.begin()
    consumption = Consumption(sources, channel=channel, wanted=wanted)
    await consumption.apply()
    return [watch.run(), consumption.run()]


async def _run(
    engine: DeliveryEngine,
    sources: Sequence[MessageSource],
    helpers: Sequence[Awaitable[None]],
    shutdown: Shutdown,
) -> None:
    """Run until the shutdown is requested. The first part that fails ends all: a supervisor starts afresh."""
    shutdown.on_request(engine.drain)
    working = asyncio.create_task(engine.run(), name="engine")
    helping = [asyncio.ensure_future(helper) for helper in helpers]
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
