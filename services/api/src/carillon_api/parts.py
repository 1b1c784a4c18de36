"""Opens the parts of a running API, and closes them in the other order."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from carillon_shared.broker import BrokerSession
from carillon_shared.broker.window import QueueWindow
from carillon_shared.clock import Clock
from carillon_shared.db.clock import DatabaseClock
from carillon_shared.db.pool import Pool, open_pool
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry.vitals import measure_process
from carillon_shared.topology.carillon import DISPATCH_WINDOW, LIVE, dispatch_queue

from carillon_api.authentication.api_keys import ApiKeys
from carillon_api.authentication.subscriber_tokens import SubscriberTokens
from carillon_api.authentication.tenants import Tenants
from carillon_api.intake.event_types import EventTypes
from carillon_api.intake.fast_path import FastPath
from carillon_api.intake.group_commit import GroupCommit
from carillon_api.intake.service import Intake
from carillon_api.intake.store import PostgresEventStore
from carillon_api.origins import ListedOrigins
from carillon_api.receipts.line import ReceiptLine
from carillon_api.schedules.ticking import Ticker
from carillon_api.services import Services
from carillon_api.settings import ApiSettings
from carillon_api.stream.announcing import Announcer
from carillon_api.stream.hub import Hub, StreamLimits

_NAME = "carillon-api"
_CLOSE_SECONDS = 5.0
_IMPORTS = 2

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_services(
    settings: ApiSettings, *, session: BrokerSession, clock: Clock | None, shutdown: Shutdown
) -> AsyncIterator[Services]:
    """Open everything that requests need. Neither the database nor the broker has to be there.

    Without a `clock` it is the database's.
    """
    async with AsyncExitStack() as stack:
        pool = await open_pool(
            settings.database_url.get_secret_value(),
            name=_NAME,
            min_size=0,  # the database may be away: requests then get a 503, and soon no more
            max_size=settings.api_database_connections,
            switched_off=settings.switched_off,
        )
        stack.push_async_callback(_close, pool)
        if clock is None:
            clock = DatabaseClock(pool)
            await stack.enter_async_context(_running(clock.run(), "clock", shutdown))
        session.clock = clock
        await stack.enter_async_context(session)
        await stack.enter_async_context(_running(measure_process(pool), "vitals", shutdown))
        services = _services(settings, pool, session, clock=clock, shutdown=shutdown)
        stack.push_async_callback(services.intake.close)
        await stack.enter_async_context(_running(services.intake.run(), "intake", shutdown))
        stack.push_async_callback(services.intake.drain)
        await stack.enter_async_context(_running(services.receipts.run(), "receipts", shutdown))
        ticker = Ticker(pool, services.intake, clock=clock, interval=settings.api_schedule_interval)
        await stack.enter_async_context(_running(ticker.run(), "schedules", shutdown))
        await _open_streams(stack, services)
        yield services


async def _open_streams(stack: AsyncExitStack, services: Services) -> None:
    hub, shutdown = services.hub, services.shutdown
    live = services.broker.consume_exclusive(LIVE.name, on_gap=hub.note_gap)
    await stack.enter_async_context(_running(hub.run(live), "streams", shutdown))
    await stack.enter_async_context(_running(services.announcer.run(), "announcements", shutdown))
    # The server waits for open responses before anything else is closed, so streams end with the signal.
    shutdown.on_request(hub.end_all)


def _services(
    settings: ApiSettings, pool: Pool, session: BrokerSession, *, clock: Clock, shutdown: Shutdown
) -> Services:
    tenants = Tenants(pool, clock=clock)
    event_types = EventTypes(pool, clock=clock)
    intake = Intake(
        event_types=event_types,
        group_commit=GroupCommit(PostgresEventStore(pool), max_waiting=settings.api_max_waiting_events),
        fast_path=FastPath(session.publisher, pool, clock=clock, windows=_windows(session)),
    )
    hub = Hub(pool, stream_limits(settings), clock=clock)
    token_secret = settings.api_token_secret.get_secret_value()
    return Services(
        settings=settings,
        pool=pool,
        broker=session,
        publisher=session.publisher,
        clock=clock,
        shutdown=shutdown,
        api_keys=ApiKeys(pool, pepper=settings.pepper, clock=clock),
        tenants=tenants,
        subscriber_tokens=SubscriberTokens(token_secret, tenants=tenants, clock=clock),
        intake=intake,
        event_types=event_types,
        receipts=ReceiptLine(pool),
        hub=hub,
        announcer=Announcer(hub, session.publisher),
        listed_origins=ListedOrigins(pool, clock=clock),
        import_turns=asyncio.Semaphore(_IMPORTS),
    )


def _windows(session: BrokerSession) -> dict[Lane, QueueWindow]:
    return {lane: session.window(dispatch_queue(lane), size=DISPATCH_WINDOW) for lane in Lane}


def stream_limits(settings: ApiSettings) -> StreamLimits:
    """Return how many streams there may be, and how long they live."""
    return StreamLimits(
        per_person=settings.api_streams_per_subscriber,
        in_all=settings.api_streams,
        life_seconds=settings.api_stream_life_seconds,
        compare_seconds=settings.api_stream_compare_seconds,
    )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str, shutdown: Shutdown) -> AsyncIterator[None]:
    """Run `work` beside the requests. Should it ever end by itself, the process cannot serve and stops."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            log.critical("background work ended", work=name, exc_info=task.exception())
            shutdown.request()

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _close(pool: Pool) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()
