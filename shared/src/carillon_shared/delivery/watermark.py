"""Writes, per queue, the publish time of the newest message received."""

import asyncio
from collections.abc import Sequence

import structlog

from carillon_shared.consumer.source import MessageSource
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.db.transient import is_transient

log = structlog.get_logger(__name__)

_SECONDS = 2.0
# Publishers' clocks wrote these times. One that is ahead must not make everything that waits look lost.
_WRITE = """
    INSERT INTO carillon.queue_watermarks AS w (queue, consumer, newest_published_at)
    SELECT m.queue, m.consumer, least(m.newest, now())
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS m(queue, consumer, newest)
    ON CONFLICT (queue, consumer) DO UPDATE
    SET newest_published_at = greatest(w.newest_published_at, excluded.newest_published_at),
        updated_at = now()
"""


class WatermarkWriter:
    """Queues are FIFO, so work published well before the watermark and still queued has lost its message."""

    def __init__(self, pool: Pool, sources: Sequence[MessageSource], *, consumer: str) -> None:
        self._pool = pool
        self._sources = sources
        self._consumer = consumer
        self._written: dict[str, object] = {}

    async def run(self) -> None:
        """Write what has moved, every two seconds, until cancelled. Writes nothing while nothing moves."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.write()
            except Exception as error:
                # Never the end of this task: without marks, lost messages would no longer be found.
                if is_transient(error):
                    log.warning("watermark_not_written", reason=str(error) or type(error).__name__)
                else:
                    log.exception("watermark_not_written")

    async def write(self) -> None:
        """Write the watermarks that have moved. Raises what asyncpg raises."""
        moved = {
            source.queue: source.newest_published_at
            for source in self._sources
            if source.newest_published_at is not None
            and self._written.get(source.queue) != source.newest_published_at
        }
        if not moved:
            return
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(_WRITE, list(moved), [self._consumer] * len(moved), list(moved.values()))
        self._written.update(moved)
