"""Measures what waits in the database: what is owed, due, dead, or half fanned out."""

from collections.abc import Mapping

import asyncpg
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.telemetry import metrics
from prometheus_client import Gauge

# The oldest of each lane by the index that the relay goes by, however many there are.
_OWED = """
    SELECT l.lane::text AS key, extract(epoch FROM now() - e.owed_at)::float8 AS seconds
    FROM unnest(enum_range(NULL::carillon.lane)) AS l(lane)
    CROSS JOIN LATERAL carillon.next_owed(l.lane, 1) AS n(id)
    JOIN carillon.events e ON e.id = n.id
"""
_DUE = "SELECT extract(epoch FROM now() - min(due_at))::float8 FROM carillon.due WHERE due_at < now()"
_DEAD = """
    SELECT channel::text AS key, count(*) AS many, extract(epoch FROM now() - min(dead_at))::float8 AS seconds
    FROM carillon.dead_letters GROUP BY channel
"""
_FANOUT = """
    SELECT e.lane::text AS key, sum(o.many)::float8 AS many,
           max(extract(epoch FROM now() - coalesce(m.moved_at, e.accepted_at)))::float8 AS seconds
    FROM (SELECT event_id, count(*) AS many FROM carillon.fanout_ranges
          WHERE published_at IS NULL GROUP BY event_id) AS o
    JOIN carillon.events e ON e.id = o.event_id
    CROSS JOIN LATERAL (SELECT greatest(max(r.published_at), max(r.planned_at)) AS moved_at
                        FROM carillon.fanout_ranges r WHERE r.event_id = o.event_id) AS m
    WHERE e.status = 'dispatching' AND e.cancelled_at IS NULL AND e.plan_error IS NULL
    GROUP BY e.lane
"""


class Backlog:
    """Writes the age and number of what waits into metrics."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def measure(self) -> int:
        """Measure once. Returns 0: there is nothing left to do. Raises what asyncpg raises."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            owed = await connection.fetch(_OWED)
            due = await connection.fetchval(_DUE)
            dead = await connection.fetch(_DEAD)
            fanout = await connection.fetch(_FANOUT)
        _show(metrics.RELAY_LAG, Lane, _column(owed, "seconds"))
        metrics.DUE_LAG.set(due or 0.0)
        _show(metrics.DEAD_LETTERS_WAITING, Channel, _column(dead, "many"))
        _show(metrics.DEAD_LETTERS_OLDEST, Channel, _column(dead, "seconds"))
        _show(metrics.FANOUT_RANGES_OPEN, Lane, _column(fanout, "many"))
        _show(metrics.FANOUT_STILL, Lane, _column(fanout, "seconds"))
        return 0


def _column(rows: list[asyncpg.Record], name: str) -> dict[str, float]:
    return {row["key"]: row[name] for row in rows}


def _show(gauge: Gauge, keys: type[Lane] | type[Channel], found: Mapping[str, float]) -> None:
    for key in keys:
        gauge.labels(key).set(max(found.get(key.value, 0.0), 0.0))
