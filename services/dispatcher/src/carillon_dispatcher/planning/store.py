"""Planning's statements. Each call is one unit of work; all raise what asyncpg raises."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import DeliveryStatus

from carillon_dispatcher.planning.rows import PlannedRows, RangeKey, Span, Verdict

_PLAN_EVENTS = "SELECT event_id, verdict FROM carillon.plan_events($1, $2)"
_CUT = "SELECT carillon.cut_ranges($1, $2)"
_NEXT_RANGES = """
    SELECT r.n, e.lane FROM carillon.fanout_ranges r JOIN carillon.events e ON e.id = r.event_id
    WHERE r.event_id = $1 AND e.id = $1 AND e.status = 'dispatching'
      AND r.published_at IS NULL AND r.sent_at IS NULL
    ORDER BY r.n
    LIMIT greatest($2 - (
        SELECT count(*) FROM carillon.fanout_ranges s
        WHERE s.event_id = $1 AND s.published_at IS NULL AND s.sent_at IS NOT NULL), 0)
"""
_RANGES_SENT = """
    UPDATE carillon.fanout_ranges r SET sent_at = now()
    FROM unnest($1::uuid[], $2::integer[]) AS w(event_id, n)
    WHERE r.event_id = w.event_id AND r.n = w.n
"""
_PLAN_RANGE = """
    SELECT r.lo, r.hi, carillon.plan_range(r.event_id, r.n) AS verdict
    FROM carillon.fanout_ranges r WHERE r.event_id = $1 AND r.n = $2
"""
_ROWS = "SELECT * FROM carillon.planned_rows($1, $2, $3, $4, $5)"
_HAS_TENANTS = "SELECT count(*) > 1 FROM (SELECT FROM carillon.tenants LIMIT 2) AS t"
_LANE = """
    UPDATE carillon.deliveries SET lane = $4::text::carillon.lane, updated_at = now()
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND status = 'queued'
"""
_EVENTS_PUBLISHED = """
    UPDATE carillon.events SET status = 'dispatched', published_at = now()
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND status = 'dispatching' AND planned_at IS NOT NULL
"""
_RANGES_PUBLISHED = """
    UPDATE carillon.fanout_ranges r SET published_at = now()
    FROM unnest($1::uuid[], $2::integer[]) AS w(event_id, n)
    WHERE r.event_id = w.event_id AND r.n = w.n AND r.planned_at IS NOT NULL
"""
# Run after the ranges' own commit: whoever commits last sees that none is left.
_FANOUT_DONE = """
    UPDATE carillon.events e
    SET status = 'dispatched', planned_at = now(), published_at = now(), plan_error = NULL
    WHERE e.id = ANY ($1) AND e.id BETWEEN $2 AND $3
      AND e.status = 'dispatching' AND e.ranges IS NOT NULL AND e.planned_at IS NULL
      AND NOT EXISTS (SELECT FROM carillon.fanout_ranges r WHERE r.event_id = e.id AND r.published_at IS NULL)
"""
# What was cut already is the ranges' business.
_POSTPONE = """
    UPDATE carillon.events
    SET owed_at = now() + make_interval(secs => least(power(2, least(plan_attempts, 6)), 60)),
        plan_attempts = least(plan_attempts + 1, 32000), plan_error = $4
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND published_at IS NULL
      AND status IN ('scheduled', 'accepted', 'dispatching') AND (ranges IS NULL OR planned_at IS NOT NULL)
"""
_FAIL = """
    UPDATE carillon.events
    SET owed_at = NULL, plan_attempts = least(plan_attempts + 1, 32000), plan_error = $2
    WHERE id = $1 AND published_at IS NULL
"""
_MAX_ERROR = 2000
_ALL = 2**31 - 1


class PlanStore:
    """Plans in the database."""

    def __init__(self, pool: Pool, *, range_size: int) -> None:
        self._pool = pool
        self._range_size = range_size
        self._has_tenants = False

    async def plan_events(self, ids: Collection[UUID]) -> dict[UUID, Verdict]:
        """Plan those of these events whose audience fits one range, in one transaction."""
        rows = await self._fetch(_PLAN_EVENTS, list(ids), self._range_size)
        return {row["event_id"]: Verdict(row["verdict"]) for row in rows}

    async def cut(self, event_id: UUID) -> list[tuple[RangeKey, Lane]]:
        """Cut a large audience, unless that is done, and return the ranges that were never sent."""
        await self._execute(_CUT, event_id, self._range_size)
        return await self.next_ranges(event_id, _ALL)

    async def next_ranges(self, event_id: UUID, most: int) -> list[tuple[RangeKey, Lane]]:
        """Return ranges that were never sent, so that with them at most so many are on their way."""
        rows = await self._fetch(_NEXT_RANGES, event_id, most)
        return [(RangeKey(event_id, row["n"]), Lane(row["lane"])) for row in rows]

    async def mark_ranges_sent(self, keys: Sequence[RangeKey]) -> None:
        """Note that the messages of these ranges have left, or have been tried."""
        await self._execute(_RANGES_SENT, [key.event_id for key in keys], [key.n for key in keys])

    async def plan_range(self, key: RangeKey) -> tuple[Verdict, Span]:
        """Plan one range in one transaction."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            row = await connection.fetchrow(_PLAN_RANGE, key.event_id, key.n)
        if row is None:
            return Verdict.MISSING, Span(key.event_id)
        return Verdict(row["verdict"]), Span(key.event_id, row["lo"], row["hi"])

    async def planned_rows(self, spans: Sequence[Span]) -> list[PlannedRows]:
        """Read what planning wrote, in a snapshot that is newer than every planner's commit."""
        ids = [span.event_id for span in spans]
        los, his = [span.lo for span in spans], [span.hi for span in spans]
        return [_rows(row) for row in await self._fetch(_ROWS, ids, los, his, min(ids), max(ids))]

    async def has_tenants(self) -> bool:
        """Tell whether there is more than one tenant: one alone has nobody to leave room for."""
        if not self._has_tenants:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                self._has_tenants = bool(await connection.fetchval(_HAS_TENANTS))
        return self._has_tenants

    async def change_lane(self, ids: Collection[UUID], lane: Lane) -> None:
        """Let deliveries whose messages are still to be published go by another lane."""
        await self._execute(_LANE, list(ids), min(ids), max(ids), lane.value)

    async def mark_events_published(self, ids: Collection[UUID]) -> None:
        """The broker has every message of these small events."""
        await self._execute(_EVENTS_PUBLISHED, list(ids), min(ids), max(ids))

    async def mark_ranges_published(self, keys: Sequence[RangeKey]) -> None:
        """The broker has every message of these ranges; an event whose last ones they are is dispatched."""
        await self._execute(_RANGES_PUBLISHED, [key.event_id for key in keys], [key.n for key in keys])
        await self.finish_fanout({key.event_id for key in keys})

    async def finish_fanout(self, ids: Collection[UUID]) -> None:
        """Mark those events dispatched that have no range left to publish."""
        await self._execute(_FANOUT_DONE, list(ids), min(ids), max(ids))

    async def postpone(self, ids: Collection[UUID], error: str) -> None:
        """Let the relay bring these events again, later each time (1 s to 1 min)."""
        await self._execute(_POSTPONE, list(ids), min(ids), max(ids), error[:_MAX_ERROR])

    async def fail(self, event_id: UUID, error: str) -> None:
        """Keep why this event cannot be planned, for the person who finds its dead letter."""
        await self._execute(_FAIL, event_id, error[:_MAX_ERROR])

    async def _fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            return await connection.fetch(query, *values)

    async def _execute(self, query: str, *values: Any) -> None:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(query, *values)


def _rows(row: asyncpg.Record) -> PlannedRows:
    return PlannedRows(
        event_id=row["event_id"],
        tenant=row["tenant"],
        traceparent=row["traceparent"],
        channel=Channel(row["channel"]),
        lane=Lane(row["lane"]),
        status=DeliveryStatus(row["status"]),
        total=row["total"],
        ids=row["ids"] or (),
    )
