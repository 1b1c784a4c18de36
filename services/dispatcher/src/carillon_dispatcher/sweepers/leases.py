"""Finds what a worker was sending when it ended."""

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)

_EXPIRE = "SELECT channel, total, leases FROM carillon.expire_leases($1)"


class ExpiredLeases:
    """Makes expired leases `unknown`; after a grace the event type's rule applies."""

    def __init__(self, pool: Pool, *, batch: int) -> None:
        self._pool = pool
        self._batch = batch

    async def expire(self) -> int:
        """Return how many leases had run out."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_EXPIRE, self._batch)
        for row in rows:
            metrics.LEASES_EXPIRED.labels(row["channel"]).inc(row["total"])
            metrics.UNKNOWN_OUTCOMES.labels(row["channel"]).inc(row["total"])
            log.warning("lease expired", channel=row["channel"], deliveries=row["total"])
        return int(rows[0]["leases"]) if rows else 0
