"""What every consuming service opens first and closes last."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.session import BrokerSession
from carillon_shared.broker.topology_watch import TopologyWatch
from carillon_shared.db.clock import DatabaseClock
from carillon_shared.db.pool import Pool, open_pool
from carillon_shared.db.transient import is_transient
from carillon_shared.lifecycle import Shutdown
from carillon_shared.settings import ServiceSettings
from carillon_shared.telemetry.health import Check, health_app, serve_health
from carillon_shared.telemetry.vitals import measure_process
from carillon_shared.topology.model import Topology

log = structlog.get_logger(__name__)

_NEEDED = "SELECT carillon.partition_exists_for(now())"


class NotMigratedError(Exception):
    """The database cannot take events at this moment."""


def process_name() -> str:
    """Return a name that tells this process from every other one that runs now."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Addresses of one service: where its database and broker are, and where it shows its health."""

    database_url: str
    broker_url: str
    health_host: str = "127.0.0.1"
    health_port: int = 0
    max_connections: int = 6
    switched_off: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: ServiceSettings, *, max_connections: int = 6) -> "Service":
        """Return the service that these settings describe."""
        return cls(
            database_url=settings.database_url.get_secret_value(),
            broker_url=settings.broker_url.get_secret_value(),
            health_host=settings.metrics_host,
            health_port=settings.metrics_port,
            max_connections=max_connections,
            switched_off=settings.switched_off,
        )

    async def open(
        self, stack: AsyncExitStack, name: str, shutdown: Shutdown, *, needs: Topology
    ) -> tuple[Pool, BrokerSession]:
        """Open the pool and prepare the broker session (not started), both closed by the stack; serve health.

        `needs` is what must be on the broker for the service to be ready. The session has its clock.
        Waits for a database that is away. Raises ``asyncpg.PostgresError`` when it refuses us for good.
        """
        session = BrokerSession(self.broker_url, name=f"carillon-{name}")
        stack.push_async_callback(session.close)
        pool = await self._open_pool(name, shutdown)
        stack.push_async_callback(_close, pool)
        session.clock = clock = DatabaseClock(pool)
        looking = asyncio.create_task(clock.run(), name="clock")
        stack.callback(looking.cancel)
        measuring = asyncio.create_task(measure_process(pool), name="vitals")
        stack.callback(measuring.cancel)
        checks = _readiness(pool, session, session.watch(needs), shutdown)
        await stack.enter_async_context(
            serve_health(health_app(checks), host=self.health_host, port=self.health_port)
        )
        return pool, session

    async def _open_pool(self, name: str, shutdown: Shutdown) -> Pool:
        backoff = Backoff()
        while True:
            try:
                return await open_pool(
                    self.database_url,
                    name=f"carillon-{name}",
                    max_size=self.max_connections,
                    resets=False,
                    switched_off=self.switched_off,
                )
            except Exception as error:
                if shutdown.requested or not is_transient(error):
                    raise
                log.warning("start_waits_for_the_database", reason=str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next())


async def _close(pool: Pool) -> None:
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def _readiness(
    pool: Pool, session: BrokerSession, topology: TopologyWatch, shutdown: Shutdown
) -> list[Check]:
    async def database() -> None:
        if not await pool.fetchval(_NEEDED, timeout=1.5):
            raise NotMigratedError("there is no partition for today: run `carillon db migrate`")

    return [
        Check("running", shutdown.ready),
        Check("database", database),
        Check("broker", session.ready),
        Check("topology", topology.probe),
    ]
