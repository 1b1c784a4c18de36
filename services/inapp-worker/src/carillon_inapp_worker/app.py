"""Wires the in-app worker together."""

import asyncio
from contextlib import AsyncExitStack

from carillon_shared.clock import SystemClock
from carillon_shared.consumer.batch_consumer import BatchConsumer, BatchLimits
from carillon_shared.db.transient import is_transient
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.channel_control import Consumption, PauseWatch
from carillon_shared.delivery.counting import start_delivery_metrics
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.delivery.poison import PoisonStore
from carillon_shared.delivery.watermark import WatermarkWriter
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service, process_name
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import work_queue
from carillon_shared.topology.needs import needs_of_worker

from carillon_inapp_worker.feed import FeedStore
from carillon_inapp_worker.handler import WRITE_SIZE, FeedHandler
from carillon_inapp_worker.pausing import PausingHandler
from carillon_inapp_worker.portions import portion_of

_LIMITS = {
    Lane.CRITICAL: BatchLimits(prefetch=256, max_batch=128, max_items=WRITE_SIZE),
    Lane.NORMAL: BatchLimits(prefetch=512, max_batch=256, max_items=WRITE_SIZE),
    # Its chunks carry hundreds of deliveries each, but for a tenant's surplus.
    Lane.BULK: BatchLimits(prefetch=32, max_batch=32, max_items=WRITE_SIZE),
}


async def run_inapp_worker(service: Service, shutdown: Shutdown) -> None:
    """Write feeds until the shutdown is requested, then finish what is under way and return."""
    async with AsyncExitStack() as stack:
        pool, session = await service.open(
            stack, "inapp-worker", shutdown, needs=needs_of_worker(Channel.INAPP)
        )
        handler = FeedHandler(
            feed=FeedStore(pool),
            catalogue=Catalogue(pool, channel=Channel.INAPP, clock=SystemClock()),
            publisher=session.publisher,
            moved=MovedLetters(pool),
        )
        start_delivery_metrics(Channel.INAPP)
        metrics.start_at_zero(metrics.EVENT_TO_INBOX_SECONDS, lane=Lane)
        poison = PoisonStore(pool)
        watch = PauseWatch(pool, channel=Channel.INAPP)
        await watch.begin()
        consumers = [
            BatchConsumer(
                session,
                [work_queue(Channel.INAPP, lane)],
                limits=limits,
                handler=PausingHandler(handler, watch, shutdown),
                on_poison=poison.keeper(work_queue(Channel.INAPP, lane)),
                is_transient=is_transient,
                portion_of=portion_of,
            )
            for lane, limits in _LIMITS.items()
        ]
        sources = [source for consumer in consumers for source in consumer.sources]
        watermarks = asyncio.create_task(
            WatermarkWriter(pool, sources, consumer=process_name()).run(), name="watermarks"
        )
        stack.callback(watermarks.cancel)
        consumption = Consumption(sources, channel=Channel.INAPP, wanted=lambda: not watch.paused)
        await consumption.apply()
        control = asyncio.gather(watch.run(), consumption.run())
        stack.callback(control.cancel)
        await session.start()
        async with asyncio.TaskGroup() as group:
            for consumer in consumers:
                group.create_task(consumer.run(shutdown))
