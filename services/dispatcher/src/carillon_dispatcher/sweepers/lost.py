"""Finds queued deliveries whose message is gone."""

from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg
from carillon_shared.clock import Clock
from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.open_events import OpenEvents
from carillon_dispatcher.sweepers.rescued import Rescued, publish_rescued, rescued

_LOST = "SELECT delivery_id, updated_at FROM carillon.lost_deliveries($1, $2, $3)"
_SILENT = "SELECT delivery_id, updated_at, channel, lane FROM carillon.silent_deliveries($1, $2)"
_TOUCH = "SELECT * FROM carillon.touch_queued($1, $2)"

Queue = tuple[str, str]


class LostChunks:
    """Publishes lost messages again.

    A queue keeps its order, so what was published `margin` seconds before the newest message that came out of
    it, and is still queued, has lost its message. A queue out of which nothing comes says nothing; then its
    oldest delivery is sent again, once per margin: as soon as that one arrives, the rest is told apart.
    """

    def __init__(
        self,
        pool: Pool,
        publisher: Publishing,
        events: OpenEvents,
        *,
        margin: float,
        batch: int,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._events = events
        self._margin = margin
        self._batch = batch
        self._monotonic: Callable[[], float] = clock.monotonic
        self._probed: dict[Queue, float] = {}

    async def rescue(self) -> int:
        """Look at the next open events; return how many deliveries were sent again."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            events = await self._events.dispatched(connection)
            if not events:
                return 0
            found = await connection.fetch(_LOST, events, self._margin, self._batch)
            if not found:
                found = self._to_probe(await connection.fetch(_SILENT, events, self._margin))
            deliveries = await _touch(connection, found)
        await publish_rescued(self._publisher, "queued", deliveries)
        return len(deliveries)

    def _to_probe(self, silent: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        now = self._monotonic()
        due = [row for row in silent if now - self._probed.get(_queue(row), -self._margin) >= self._margin]
        self._probed.update((_queue(row), now) for row in due)
        return due


async def _touch(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", found: Sequence[asyncpg.Record]
) -> list[Rescued]:
    """Take those for publishing again that nobody has touched since they were found."""
    if not found:
        return []
    ids: list[UUID] = [row["delivery_id"] for row in found]
    rows = await connection.fetch(_TOUCH, ids, [row["updated_at"] for row in found])
    return [rescued(row) for row in rows]


def _queue(row: asyncpg.Record) -> Queue:
    return row["channel"], row["lane"]
