"""Finds fan-outs that stand still."""

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.lanes import Lane
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.planning.ranges import range_message
from carillon_dispatcher.planning.rows import RangeKey

log = structlog.get_logger(__name__)

_STALLED = "SELECT event_id, n, lane FROM carillon.claim_stalled_ranges($1, $2)"
# A small event is one range kept on its own row; the relay brings its message again.
_STALLED_EVENTS = """
    UPDATE carillon.events SET owed_at = now()
    WHERE status = 'dispatching' AND owed_at IS NULL AND published_at IS NULL
      AND planned_at < now() - make_interval(secs => $1)
    RETURNING id
"""


class StalledRanges:
    """Sends ranges again that were planned and not published, or not planned, for `seconds`."""

    def __init__(self, pool: Pool, publisher: Publishing, *, seconds: float, batch: int) -> None:
        self._pool = pool
        self._publisher = publisher
        self._seconds = seconds
        self._batch = batch

    async def rescue(self) -> int:
        """Send what stands still, and return how many ranges that were."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            ranges = await connection.fetch(_STALLED, self._batch, self._seconds)
            events = await connection.fetch(_STALLED_EVENTS, self._seconds)
        if events:
            metrics.RESCUED.labels("event").inc(len(events))
            log.info("rescued", what="event", events=len(events))
        if ranges:
            messages = [
                range_message(RangeKey(row["event_id"], row["n"]), Lane(row["lane"])) for row in ranges
            ]
            failed = [error for error in await self._publisher.publish_many(messages) if error is not None]
            metrics.RESCUED.labels("range").inc(len(ranges))
            log.info("rescued", what="range", ranges=len(ranges), failed=len(failed))
        return len(ranges)
