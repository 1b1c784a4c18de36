"""Suppressions in the database, always of the current tenant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.suppressions import SuppressionReason

from carillon_api.suppressions.models import Suppression, SuppressionBody

_COLUMNS = """x.id, x.channel::text, x.shown AS address, s.id AS subscriber, x.reason, x.detail, x.created_at,
    x.expires_at"""
_SUBSCRIBER = "LEFT JOIN carillon.subscribers s ON s.tenant_id = x.tenant_id AND s.number = x.subscriber"
_LIST = f"""
SELECT {_COLUMNS} FROM carillon.suppressions x {_SUBSCRIBER}
WHERE (x.expires_at IS NULL OR x.expires_at > now())
  AND ($1::text IS NULL OR x.channel = $1::text::carillon.channel) AND ($2::text IS NULL OR x.reason = $2)
  AND ($3::text IS NULL OR x.target = carillon.address_digest($3)) AND ($4::text IS NULL OR s.id = $4)
  AND ($5::timestamptz IS NULL OR (x.created_at, x.id) < ($5, $6::uuid))
ORDER BY x.created_at DESC, x.id DESC LIMIT $7
"""
_PUT = f"""
WITH x AS (
    INSERT INTO carillon.suppressions AS o (
        tenant_id, target, channel, subscriber, shown, reason, detail, expires_at)
    VALUES ($1, coalesce(carillon.address_digest($2), int8send($3)), $4::text::carillon.channel, $3,
            carillon.masked_address($2), $5, $6, $7)
    ON CONFLICT (tenant_id, target, channel) DO UPDATE
    SET reason = excluded.reason, detail = excluded.detail, expires_at = excluded.expires_at,
        created_at = now()
    RETURNING o.*, xmax = 0 AS created
)
SELECT {_COLUMNS}, x.created FROM x {_SUBSCRIBER}
"""
_REMOVE = f"""
WITH x AS (DELETE FROM carillon.suppressions WHERE id = $1 RETURNING *)
SELECT {_COLUMNS} FROM x {_SUBSCRIBER}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The row after which a page begins."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which to list; everything given must hold."""

    channel: Channel | None = None
    reason: SuppressionReason | None = None
    address: str | None = None
    subscriber: str | None = None


async def list_suppressions(
    connection: Connection, wanted: Wanted, *, after: Place | None, limit: int
) -> list[Suppression]:
    """Return those in force, newest first."""
    rows = await connection.fetch(
        _LIST,
        wanted.channel.value if wanted.channel else None,
        wanted.reason,
        wanted.address,
        wanted.subscriber,
        after.created_at if after else None,
        after.id if after else None,
        limit,
    )
    return [Suppression.model_validate(dict(row)) for row in rows]


async def put_suppression(
    connection: Connection, body: SuppressionBody, *, tenant_id: int, number: int | None
) -> tuple[Suppression, bool]:
    """Store one in the place of what held before; true when nothing did. `number`: of a person."""
    row: Any = await connection.fetchrow(
        _PUT,
        tenant_id,
        body.address,
        number,
        body.channel.value,
        SuppressionReason.MANUAL,
        body.reason,
        body.expires_at,
    )
    return Suppression.model_validate(dict(row)), row["created"]


async def remove_suppression(connection: Connection, identifier: UUID) -> Suppression | None:
    """Remove one and return what it was; None when there is none of that id."""
    row = await connection.fetchrow(_REMOVE, identifier)
    return Suppression.model_validate(dict(row)) if row else None
