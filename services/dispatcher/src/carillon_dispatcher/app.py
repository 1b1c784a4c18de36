"""Wires the dispatcher together."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from carillon_shared.broker import BrokerSession, Incoming
from carillon_shared.consumer import BatchConsumer, Handler
from carillon_shared.consumer.batch_consumer import BatchLimits
from carillon_shared.consumer.fair_source import Portion, PortionOf
from carillon_shared.consumer.source import MessageSource
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import is_transient
from carillon_shared.delivery.poison import PoisonStore
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import (
    DISPATCH_DEAD_QUEUE,
    DISPATCH_WINDOW,
    carillon_topology,
    dead_queue,
    dispatch_queue,
    fanout_queue,
    tenant_of_key,
)
from carillon_shared.topology.needs import needs_of_dispatcher

from carillon_dispatcher.fanout import FanoutHandler
from carillon_dispatcher.given_up import GivenUpHandler
from carillon_dispatcher.handler import DispatchHandler
from carillon_dispatcher.planning.fair_work import LOWER, FairWork
from carillon_dispatcher.planning.shares import Shares
from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.settings import DispatcherSettings
from carillon_dispatcher.sweepers.backlog import Backlog
from carillon_dispatcher.sweepers.dead_queues import DeadQueue
from carillon_dispatcher.sweepers.expiry import Expiry
from carillon_dispatcher.sweepers.loop import Sweep, keep_sweeping
from carillon_dispatcher.sweepers.queue_meter import QueueMeter
from carillon_dispatcher.sweepers.schedule import sweeps
from carillon_dispatcher.sweepers.walking import PASS_LIMIT, QueueWalk
from carillon_dispatcher.webhooks.guard import AddressGuard, networks
from carillon_dispatcher.webhooks.posting import WebhookClient
from carillon_dispatcher.webhooks.sending import ENDPOINTS, WebhookSender
from carillon_dispatcher.webhooks.store import WebhookStore

# Of what is here the tenants have turns, so there is more here than the next batches.
_DISPATCH = BatchLimits(prefetch=4000, max_batch=200)
# A range is thousands of deliveries, so few are enough; other dispatchers take the rest meanwhile.
_FANOUT = BatchLimits(prefetch=4, max_batch=2)
_GIVEN_UP = BatchLimits(prefetch=200, max_batch=100)
_EXPIRY_BATCH = 100


async def run_dispatcher(settings: DispatcherSettings, shutdown: Shutdown) -> None:
    """Plan, relay and sweep until the shutdown is requested, then finish what is under way and return."""
    service = Service(
        database_url=settings.database_url.get_secret_value(),
        broker_url=settings.broker_url.get_secret_value(),
        health_host=settings.metrics_host,
        health_port=settings.metrics_port,
        max_connections=settings.dispatcher_database_connections,
    )
    async with AsyncExitStack() as stack:
        pool, session = await service.open(stack, "dispatcher", shutdown, needs=needs_of_dispatcher())
        store = PlanStore(pool, range_size=settings.dispatcher_range_size)
        consumers = _consumers(pool, session, store)
        dead_queues = _dead_queues(pool, session)
        windows = {lane: session.window(dispatch_queue(lane), size=DISPATCH_WINDOW) for lane in Lane}
        due = sweeps(settings, pool, session.publisher, store, queues=dead_queues, windows=windows)
        meter = QueueMeter(
            service.broker_url, pool, queues=[queue.name for queue in carillon_topology().queues]
        )
        stack.push_async_callback(meter.close)
        due.append(Sweep("queue-meter", settings.dispatcher_measure_interval, meter.measure, 1))
        due.append(Sweep("backlog", settings.dispatcher_measure_interval, Backlog(pool).measure, 1))
        _start_metrics(due)
        client = _webhook_client(settings)
        stack.push_async_callback(client.aclose)
        webhooks = WebhookSender(
            WebhookStore(pool, disable_days=settings.dispatcher_webhook_disable_days),
            client,
            seconds=settings.dispatcher_webhook_seconds,
            interval=settings.dispatcher_webhook_interval,
        )
        await session.start()
        async with asyncio.TaskGroup() as tasks:
            for consumer in consumers:
                tasks.create_task(consumer.run(shutdown))
            tasks.create_task(webhooks.run(shutdown), name="webhooks")
            for sweep in due:
                tasks.create_task(keep_sweeping(sweep, shutdown), name=f"sweep-{sweep.name}")


def _webhook_client(settings: DispatcherSettings) -> WebhookClient:
    guard = AddressGuard(networks(settings.dispatcher_webhook_allowed_networks))
    return WebhookClient(guard, seconds=settings.dispatcher_webhook_seconds, connections=ENDPOINTS)


def _consumers(pool: Pool, session: BrokerSession, store: PlanStore) -> list[BatchConsumer]:
    poison = PoisonStore(pool)
    work = FairWork(session.publisher, store, Shares(session.gauge))
    dispatch = DispatchHandler(store, session.publisher, work)
    fanout = FanoutHandler(store, session.publisher, work, Expiry(pool, batch=_EXPIRY_BATCH))

    def consumer(
        queue: str, limits: BatchLimits, handler: Handler, portion_of: PortionOf | None = None
    ) -> BatchConsumer:
        return BatchConsumer(
            session,
            [queue],
            limits=limits,
            handler=handler,
            on_poison=poison.keeper(queue),
            is_transient=is_transient,
            portion_of=portion_of,
        )

    return [
        *(consumer(dispatch_queue(lane), _DISPATCH, dispatch, _portion_of) for lane in Lane),
        *(consumer(fanout_queue(lane), _FANOUT, fanout) for lane in Lane),
        consumer(DISPATCH_DEAD_QUEUE, _GIVEN_UP, GivenUpHandler(pool, session.publisher)),
    ]


def _portion_of(incoming: Incoming) -> Portion:
    return Portion(tenant_of_key(incoming.routing_key))


def _dead_queues(pool: Pool, session: BrokerSession) -> list[DeadQueue]:
    def open_source(channel: Channel) -> MessageSource:
        return MessageSource(session.subscribe(dead_queue(channel), prefetch=PASS_LIMIT))

    return [
        DeadQueue(QueueWalk(partial(open_source, channel)), pool, session.publisher, channel=channel)
        for channel in Channel
    ]


def _start_metrics(due: list[Sweep]) -> None:
    metrics.start_at_zero(metrics.SWEEP_FAILURES, sweep=[sweep.name for sweep in due])
    metrics.start_at_zero(metrics.OPERATED, kind=metrics.OPERATIONS, result=metrics.OPERATED_RESULTS)
    metrics.start_at_zero(metrics.DEAD_COPIES_REMOVED, channel=Channel)
    metrics.start_at_zero(metrics.PLANNED_SURPLUS, channel=Channel, lane=LOWER.values())
    metrics.start_at_zero(metrics.LEASES_EXPIRED, channel=Channel)
    metrics.start_at_zero(metrics.DEAD_LETTERS, channel=Channel, reason=metrics.DEAD_REASONS)
    metrics.start_at_zero(metrics.PLANNED_DELIVERIES, channel=Channel, status=metrics.PLANNED_STATUSES)
    metrics.start_at_zero(metrics.OUTCOMES, channel=Channel, state=metrics.TOLD_STATES)
    for waiting in (metrics.DEAD_LETTERS_WAITING, metrics.DEAD_LETTERS_OLDEST):
        metrics.start_at_zero(waiting, channel=Channel)
    for lagging in (metrics.RELAY_LAG, metrics.FANOUT_RANGES_OPEN, metrics.FANOUT_STILL):
        metrics.start_at_zero(lagging, lane=Lane)
    metrics.start_at_zero(metrics.UNKNOWN_OUTCOMES, channel=Channel)
