"""Dead letters in the database."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from carillon_shared.telemetry.masking import mask_value

from carillon_api.operators.models import DeadLetter

_SELECT = """
SELECT l.delivery_id AS id, d.event_id, l.event_type, s.id AS subscriber, l.channel::text, l.reason::text,
    l.provider, l.code, l.error, l.attempt, l.dead_at,
    CASE l.channel WHEN 'email' THEN coalesce(k.email, s.email)
                   WHEN 'whatsapp' THEN coalesce(k.phone, s.phone) END AS address,
    extract(epoch FROM clock_timestamp() - l.dead_at)::float8 AS age_seconds
FROM carillon.dead_letters l
JOIN carillon.deliveries d ON d.id = l.delivery_id
JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
LEFT JOIN carillon.corrections k ON k.delivery_id = l.delivery_id
"""
_LIST = f"""{_SELECT}
WHERE l.tenant_id = $1
  AND ($2::timestamptz IS NULL OR (l.dead_at, l.delivery_id) < ($2, $3::uuid))
  AND ($4::text IS NULL OR l.channel = $4::text::carillon.channel)
  AND ($5::text IS NULL OR l.event_type = $5)
  AND ($6::text IS NULL OR l.reason = $6::text::carillon.reason)
  AND ($7::text IS NULL OR l.provider = $7)
  AND ($8::timestamptz IS NULL OR l.dead_at >= $8)
  AND ($9::timestamptz IS NULL OR l.dead_at < $9)
ORDER BY l.dead_at DESC, l.delivery_id DESC LIMIT $10
"""
_ATTEMPTS = """
SELECT delivery_id, number, started_at, ended_at, outcome, provider, code, error, stack
FROM carillon.attempts WHERE delivery_id = ANY ($1::uuid[]) AND delivery_id BETWEEN $2 AND $3
ORDER BY delivery_id, number
"""


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters to list."""

    channel: Channel | None
    event_type: str | None
    reason: Reason | None
    provider: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list, newest first."""

    dead_at: datetime
    id: UUID


async def list_dead_letters(
    connection: Connection, *, tenant_id: int, wanted: DeadLetterFilter, after: Position | None, limit: int
) -> list[DeadLetter]:
    """Return dead letters with their attempts, newest first; addresses are masked."""
    rows = await list_rows(connection, tenant_id=tenant_id, wanted=wanted, after=after, limit=limit)
    return await _with_attempts(connection, rows)


async def list_rows(
    connection: Connection, *, tenant_id: int, wanted: DeadLetterFilter, after: Position | None, limit: int
) -> list[Any]:
    """Return dead letters as they are stored, newest first."""
    rows: list[Any] = await connection.fetch(
        _LIST,
        tenant_id,
        after.dead_at if after else None,
        after.id if after else None,
        wanted.channel.value if wanted.channel else None,
        wanted.event_type,
        wanted.reason.value if wanted.reason else None,
        wanted.provider,
        wanted.since,
        wanted.until,
        limit,
    )
    return rows


async def get_dead_letter(connection: Connection, *, tenant_id: int, delivery_id: UUID) -> DeadLetter | None:
    """Return one dead letter; None when the tenant has none of that id."""
    rows = await connection.fetch(
        f"{_SELECT} WHERE l.delivery_id = $1 AND l.tenant_id = $2", delivery_id, tenant_id
    )
    found = await _with_attempts(connection, rows)
    return found[0] if found else None


async def _with_attempts(connection: Connection, rows: Sequence[Any]) -> list[DeadLetter]:
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    attempts: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for attempt in await connection.fetch(_ATTEMPTS, ids, min(ids), max(ids)):
        attempts[attempt["delivery_id"]].append(dict(attempt))
    return [_dead_letter(row, attempts[row["id"]]) for row in rows]


def _dead_letter(row: Any, attempts: list[dict[str, Any]]) -> DeadLetter:
    address = mask_value(row["address"])
    return DeadLetter.model_validate({**dict(row), "address": address, "attempts": attempts})
