"""Schedules in the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection, Pool

from carillon_api.schedules.models import NewSchedule, Schedule
from carillon_api.schedules.ticks import OnMissed, upcoming

_SHOWN_TICKS = 3
_COLUMNS = """id, name, cron, time_zone, event, on_missed, ends_at, paused_at IS NOT NULL AS paused, next_at,
    last_at, last_event_id, last_error, created_at, updated_at"""
_INSERT = f"""
INSERT INTO carillon.schedules (
    tenant_id, name, cron, time_zone, event, on_missed, ends_at, paused_at, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN now() END, $9)
RETURNING {_COLUMNS}
"""
_UPDATE = f"""
UPDATE carillon.schedules
SET name = $3, cron = $4, time_zone = $5, event = $6, on_missed = $7, ends_at = $8,
    paused_at = CASE WHEN $9 THEN coalesce(paused_at, now()) END, next_at = $10, claimed_until = NULL,
    updated_at = now()
WHERE tenant_id = $1 AND id = $2
RETURNING {_COLUMNS}
"""
_LIST = f"""
SELECT {_COLUMNS} FROM carillon.schedules
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
"""
_CLAIM = "SELECT * FROM carillon.claim_schedules($1, $2)"
_ADVANCE = "SELECT carillon.advance_schedule($1, $2, $3, $4, $5, $6)"


async def create(
    connection: Connection, *, tenant_id: int, wanted: NewSchedule, next_at: datetime | None
) -> Schedule:
    """Store a schedule."""
    row = await connection.fetchrow(
        _INSERT,
        tenant_id,
        wanted.name,
        wanted.cron,
        wanted.time_zone,
        wanted.event,
        wanted.on_missed,
        wanted.ends_at,
        wanted.paused,
        next_at,
    )
    return shown(dict(row or {}))


async def count(connection: Connection, *, tenant_id: int) -> int:
    """Return how many schedules the tenant has."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM carillon.schedules WHERE tenant_id = $1", tenant_id
    )
    return found


async def find(
    connection: Connection, *, tenant_id: int, schedule: UUID, lock: bool = False
) -> Schedule | None:
    """Return one schedule, locked if wanted; None when the tenant has none of that id."""
    row = await connection.fetchrow(
        f"""SELECT {_COLUMNS} FROM carillon.schedules WHERE tenant_id = $1 AND id = $2
        {"FOR UPDATE" if lock else ""}""",
        tenant_id,
        schedule,
    )
    return shown(dict(row)) if row else None


async def listed(connection: Connection, *, tenant_id: int, after: UUID | None, limit: int) -> list[Schedule]:
    """Return schedules in the order of their ids."""
    return [shown(dict(row)) for row in await connection.fetch(_LIST, tenant_id, after, limit)]


async def replace(
    connection: Connection, *, tenant_id: int, schedule: UUID, wanted: NewSchedule, next_at: datetime | None
) -> Schedule:
    """Write a schedule that is locked as it shall be."""
    row = await connection.fetchrow(
        _UPDATE,
        tenant_id,
        schedule,
        wanted.name,
        wanted.cron,
        wanted.time_zone,
        wanted.event,
        wanted.on_missed,
        wanted.ends_at,
        wanted.paused,
        next_at,
    )
    return shown(dict(row or {}))


async def remove(connection: Connection, *, tenant_id: int, schedule: UUID) -> bool:
    """Remove a schedule; return whether there was one."""
    tag = await connection.execute(
        "DELETE FROM carillon.schedules WHERE tenant_id = $1 AND id = $2", tenant_id, schedule
    )
    return tag == "DELETE 1"


def shown(row: dict[str, Any]) -> Schedule:
    """Return a row as it is shown."""
    start, ends_at = row["next_at"], row["ends_at"]
    ticks: list[datetime] = []
    if start is not None:
        later = upcoming(row["cron"], row["time_zone"], start, ends_at=ends_at, most=_SHOWN_TICKS - 1)
        ticks = [start, *later]
    return Schedule.model_validate(row | {"upcoming": ticks})


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule whose tick has come. `moment` is now, by the database's clock."""

    id: UUID
    tenant_id: int
    tenant: str
    cron: str
    time_zone: str
    event: dict[str, Any]
    on_missed: OnMissed
    ends_at: datetime | None
    next_at: datetime
    moment: datetime


async def claim(pool: Pool, *, most: int, seconds: float) -> list[DueSchedule]:
    """Take schedules of any tenant whose tick has come, for so many seconds. Raises what asyncpg raises."""
    return [DueSchedule(**dict(row)) for row in await pool.fetch(_CLAIM, most, seconds)]


async def advance(
    pool: Pool,
    claimed: DueSchedule,
    *,
    following: datetime | None,
    fired: datetime | None,
    event: UUID | None,
    failure: str | None,
) -> None:
    """Write down what came of a tick, and when the next one is."""
    await pool.execute(_ADVANCE, claimed.id, claimed.next_at, following, fired, event, failure)
