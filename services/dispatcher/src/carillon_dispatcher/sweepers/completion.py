"""Closes events of which nothing is on its way any more."""

from uuid import UUID

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Connection, Pool

from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.sweepers.open_events import OpenEvents

log = structlog.get_logger(__name__)

_FIRST_OPEN = "SELECT event_id, delivery_id FROM carillon.first_open($1, $2)"
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
            completed = 0
            if done:
                completed = await connection.fetchval(_COMPLETE, done, min(done), max(done))
        if over:
            await self._store.finish_fanout(over)
        for event in done:
            self._open.pop(event, None)
        return completed

    async def _done(self, connection: Connection, events: list[UUID]) -> list[UUID]:
        if len(self._open) > _MAX_KNOWN:
            self._open.clear()
        known = [self._open.get(event) for event in events]
        done = await self._look(connection, events, known)
        # A replay may have opened an earlier one again, so the last look is at all of them.
        second = [event for event in done if event in self._open]
        if not second:
            return done
        return [event for event in done if event not in self._open] + await self._look(
            connection, second, [None] * len(second)
        )

    async def _look(self, connection: Connection, events: list[UUID], froms: list[UUID | None]) -> list[UUID]:
        rows = await connection.fetch(_FIRST_OPEN, events, froms)
        self._open.update({row["event_id"]: row["delivery_id"] for row in rows if row["delivery_id"]})
        return [row["event_id"] for row in rows if row["delivery_id"] is None]
