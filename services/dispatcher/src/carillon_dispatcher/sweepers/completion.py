"""Closes events of which nothing is on its way any more."""

from uuid import UUID

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Connection, Pool

from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.sweepers.open_events import OpenEvents

log = structlog.get_logger(__name__)

_FIRST_OPEN = "SELECT event_id, delivery_id FROM carillon.first_open($1, $2)"
_LOCK = """
    SELECT id FROM carillon.events
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND status = 'dispatched' ORDER BY id FOR NO KEY UPDATE
"""
_COMPLETE = """
    WITH completed AS (
        UPDATE carillon.events SET status = 'completed'
        WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND status = 'dispatched'
        RETURNING id
    ), no_longer_needed AS (
        DELETE FROM carillon.fanout_ranges r USING completed c WHERE r.event_id = c.id
    )
    SELECT count(*) FROM completed
"""
_FANOUT_OVER = """
    SELECT e.id FROM carillon.events e
    WHERE e.status = 'dispatching' AND e.ranges IS NOT NULL AND e.planned_at IS NULL
      AND NOT EXISTS (SELECT FROM carillon.fanout_ranges r WHERE r.event_id = e.id AND r.published_at IS NULL)
    LIMIT 1000
"""
_MAX_KNOWN = 100_000


class Completion:
    """Remembers of each event the first delivery that was open, and looks on from there.

    So a large event costs one pass over its deliveries, not one each time.
    """

    def __init__(self, pool: Pool, store: PlanStore, events: OpenEvents) -> None:
        self._pool = pool
        self._store = store
        self._events = events
        self._open: dict[UUID, UUID] = {}

    async def sweep(self) -> int:
        """Look at the next open events, close those that are done, and return how many were."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            over = [row["id"] for row in await connection.fetch(_FANOUT_OVER)]
            events = await self._events.dispatched(connection)
            done = await self._done(connection, events) if events else []
            closed = await self._close(connection, done) if done else []
        if over:
            await self._store.finish_fanout(over)
        for event in closed:
            self._open.pop(event, None)
        return len(closed)

    async def _done(self, connection: Connection, events: list[UUID]) -> list[UUID]:
        if len(self._open) > _MAX_KNOWN:
            self._open.clear()
        return await self._look(connection, events, [self._open.get(event) for event in events])

    async def _close(self, connection: Connection, done: list[UUID]) -> list[UUID]:
        """Close events, unless one of all their deliveries is open: a replay may have opened an earlier one.

        A replay locks its events too, so it is seen here, or it sees here what it has to open again.
        """
        async with connection.transaction():
            rows = await connection.fetch(_LOCK, done, min(done), max(done))
            locked = [row["id"] for row in rows]
            still = await self._look(connection, locked, [None] * len(locked)) if locked else []
            if still:
                await connection.execute(_COMPLETE, still, min(still), max(still))
        return still

    async def _look(self, connection: Connection, events: list[UUID], froms: list[UUID | None]) -> list[UUID]:
        rows = await connection.fetch(_FIRST_OPEN, events, froms)
        self._open.update({row["event_id"]: row["delivery_id"] for row in rows if row["delivery_id"]})
        return [row["event_id"] for row in rows if row["delivery_id"] is None]
