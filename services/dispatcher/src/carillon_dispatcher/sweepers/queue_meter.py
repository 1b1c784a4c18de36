"""Measures the queues, so that operators see them without any right on the broker."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import structlog
from carillon_shared.broker.admin import Admin, administer
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.queues import QueueSize, queue_size
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)

_WAIT_SECONDS = 5.0
_WRITE = "SELECT queue, oldest_seconds FROM carillon.measure_queues($1, $2, $3)"


class QueueMeter:
    """Asks the broker for every queue's depth and consumers, and writes them down.

    It keeps one connection of its own; asking for a queue that exists needs no right.
    """

    def __init__(self, broker_url: str, pool: Pool, *, queues: Sequence[str]) -> None:
        self._broker_url = broker_url
        self._pool = pool
        self._queues = queues
        self._open = AsyncExitStack()
        self._admin: Admin | None = None

    async def measure(self) -> int:
        """Measure once. Returns 0: there is nothing left to do. Raises what asyncpg raises."""
        try:
            measured = await self._ask()
        except (BrokerError, OSError) as error:
            log.warning("queues_not_measured", reason=str(error) or type(error).__name__)
            await self.close()
            return 0
        await self._write(measured)
        return 0

    async def close(self) -> None:
        """Close the connection."""
        self._admin = None
        await self._open.aclose()

    async def _ask(self) -> list[QueueSize]:
        if self._admin is None:
            self._admin = await self._open.enter_async_context(
                administer(self._broker_url, wait=_WAIT_SECONDS)
            )
        found = [await queue_size(self._admin, queue) for queue in self._queues]
        return [one for one in found if one is not None]

    async def _write(self, measured: Sequence[QueueSize]) -> None:
        names = [one.queue for one in measured]
        ready, consumers = [one.messages for one in measured], [one.consumers for one in measured]
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_WRITE, names, ready, consumers)
        for one in measured:
            metrics.QUEUE_MESSAGES.labels(one.queue).set(one.messages)
            metrics.QUEUE_CONSUMERS.labels(one.queue).set(one.consumers)
        for row in rows:
            metrics.QUEUE_OLDEST_SECONDS.labels(row["queue"]).set(row["oldest_seconds"])
