"""Counting, in the database. Each statement is about one tenant and one stretch of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel

from carillon_api.statistics.models import Dimension

_COLUMN = {
    Dimension.EVENT: "e.id",
    Dimension.TYPE: "e.type",
    Dimension.CATEGORY: "e.category",
    Dimension.PRIORITY: "e.lane::text",
    Dimension.CHANNEL: "d.channel::text",
    Dimension.STATUS: "d.status::text",
    Dimension.REASON: "d.reason::text",
    Dimension.PROVIDER: "d.provider",
    Dimension.HOUR: "date_trunc('hour', e.accepted_at, 'UTC')",
    Dimension.DAY: "date_trunc('day', e.accepted_at, 'UTC')",
}
_EVENTS_OF = """
    FROM carillon.events e
    WHERE e.tenant_id = $1 AND e.id >= carillon.uuid_floor($2) AND e.id < carillon.uuid_floor($3)
      AND ($4::text IS NULL OR e.type = $4) AND ($5::uuid IS NULL OR e.id = $5)
"""
_EVENTS = f"SELECT e.status::text AS status, count(*) AS count {_EVENTS_OF} GROUP BY e.status"
# By the tenant's events, each with its own range of delivery ids: what other tenants have costs nothing.
_DELIVERIES = f"""
WITH wanted AS MATERIALIZED (
    SELECT e.id, e.type, e.category, e.lane, e.accepted_at,
           greatest(e.accepted_at, e.deliver_at) AS due_at,
           carillon.delivery_prefix(e.id) AS prefix {_EVENTS_OF}
)
SELECT {{columns}} count(*) AS deliveries, coalesce(sum(d.attempt), 0)::bigint AS attempts,
       percentile_cont(ARRAY[0.5, 0.95, 0.99])
           WITHIN GROUP (ORDER BY extract(epoch FROM a.ended_at - e.due_at))
           FILTER (WHERE a.ended_at IS NOT NULL) AS latency
FROM wanted e
CROSS JOIN LATERAL (
    SELECT v.id, v.channel, v.status, v.reason, v.provider, v.attempt FROM carillon.deliveries v
    WHERE v.id BETWEEN carillon.delivery_id(e.prefix, 0, 'inapp')
                   AND carillon.delivery_id(e.prefix, 4294967295, 'whatsapp')
      AND v.event_id = e.id AND ($6::text IS NULL OR v.channel = $6::text::carillon.channel) OFFSET 0) AS d
LEFT JOIN LATERAL (
    SELECT v.ended_at FROM carillon.attempts v
    WHERE d.status IN ('sent', 'delivered', 'read') AND v.delivery_id = d.id AND v.number = d.attempt
    OFFSET 0) AS a ON true
{{grouping}}
LIMIT $7
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to count."""

    since: datetime
    until: datetime
    type: str | None
    event: UUID | None
    channel: Channel | None

    def arguments(self, tenant_id: int) -> tuple[object, ...]:
        """Return what both statements begin with."""
        return tenant_id, self.since, self.until, self.type, self.event


async def limit_time(connection: Connection, *, seconds: float) -> None:
    """Let no statement of this transaction take longer: it ends with `asyncpg.QueryCanceledError`."""
    await connection.execute("SELECT set_config('statement_timeout', $1, true)", str(round(seconds * 1000)))


async def count_events(connection: Connection, *, tenant_id: int, wanted: Wanted) -> dict[str, int]:
    """Return how many events there are of each status."""
    rows = await connection.fetch(_EVENTS, *wanted.arguments(tenant_id))
    return {row["status"]: row["count"] for row in rows}


async def count_deliveries(
    connection: Connection, *, tenant_id: int, wanted: Wanted, by: Sequence[Dimension], most: int
) -> list[dict[str, Any]]:
    """Return up to `most` groups of deliveries, in the order of what they are counted by."""
    columns = "".join(f"{_COLUMN[name]} AS {name}, " for name in by)
    places = ", ".join(str(place) for place in range(1, len(by) + 1))
    grouping = f"GROUP BY {places} ORDER BY {places}" if by else ""
    statement = _DELIVERIES.format(columns=columns, grouping=grouping)
    channel = wanted.channel.value if wanted.channel else None
    rows = await connection.fetch(statement, *wanted.arguments(tenant_id), channel, most)
    return [dict(row) for row in rows]
