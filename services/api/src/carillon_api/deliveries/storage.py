"""Deliveries in the database."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import DeliveryStatus
from carillon_shared.ids import delivery_id_range

from carillon_api.deliveries.models import Delivery

_COLUMNS = """d.id, d.event_id, s.id AS subscriber, d.channel::text, d.status::text, d.reason::text,
    d.hold_reason::text, d.attempt, d.next_attempt_at, d.provider, d.provider_id, d.created_at,
    d.updated_at"""
_JOIN = """carillon.deliveries d
    JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber"""

_LIST = f"""
SELECT {_COLUMNS} FROM {_JOIN}
WHERE d.tenant_id = $1
  AND ($2::uuid IS NULL OR d.id < $2)
  AND d.id BETWEEN $3 AND $4
  AND ($5::bigint IS NULL OR d.subscriber = $5)
  AND ($6::text IS NULL OR d.channel = $6::text::carillon.channel)
  AND ($7::text IS NULL OR d.status = $7::text::carillon.delivery_status)
ORDER BY d.id DESC LIMIT $8
"""
_ATTEMPTS = """
SELECT delivery_id, number, started_at, ended_at, outcome, provider, code, error, stack
FROM carillon.attempts WHERE delivery_id = ANY ($1::uuid[]) AND delivery_id BETWEEN $2 AND $3
ORDER BY delivery_id, number
"""
_RECEIPTS = """
SELECT delivery_id, state::text, message_id, at, received_at, code, error
FROM carillon.receipts WHERE delivery_id = ANY ($1::uuid[]) AND delivery_id BETWEEN $2 AND $3
ORDER BY delivery_id, received_at, state
"""
_EVERY_ID = (UUID(int=0), UUID(int=2**128 - 1))


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list."""

    event: UUID | None
    subscriber: str | None
    channel: Channel | None
    status: DeliveryStatus | None


async def list_deliveries(
    connection: Connection, *, tenant_id: int, wanted: DeliveryFilter, before: UUID | None, limit: int
) -> list[Delivery]:
    """Return deliveries with their attempts and receipts, newest events first."""
    number = None
    if wanted.subscriber is not None:
        number = await _number_of(connection, wanted.subscriber, tenant_id=tenant_id)
        if number is None:
            return []
    rows = await connection.fetch(
        _LIST,
        tenant_id,
        before,
        *(delivery_id_range(wanted.event) if wanted.event else _EVERY_ID),
        number,
        wanted.channel.value if wanted.channel else None,
        wanted.status.value if wanted.status else None,
        limit,
    )
    return await _with_history(connection, rows)


async def get_delivery(connection: Connection, *, tenant_id: int, delivery_id: UUID) -> Delivery | None:
    """Return one delivery with its attempts and receipts; None when the tenant has none of that id."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM {_JOIN} WHERE d.id = $1 AND d.tenant_id = $2", delivery_id, tenant_id
    )
    found = await _with_history(connection, rows)
    return found[0] if found else None


async def _with_history(connection: Connection, rows: Sequence[Any]) -> list[Delivery]:
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    attempts = _by_delivery(await connection.fetch(_ATTEMPTS, ids, min(ids), max(ids)))
    receipts = _by_delivery(await connection.fetch(_RECEIPTS, ids, min(ids), max(ids)))
    return [
        Delivery.model_validate(
            {**dict(row), "attempts": attempts[row["id"]], "receipts": receipts[row["id"]]}
        )
        for row in rows
    ]


def _by_delivery(rows: Sequence[Any]) -> dict[UUID, list[dict[str, Any]]]:
    grouped: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["delivery_id"]].append(dict(row))
    return grouped


async def _number_of(connection: Connection, subscriber: str, *, tenant_id: int) -> int | None:
    number: int | None = await connection.fetchval(
        "SELECT number FROM carillon.subscribers WHERE tenant_id = $1 AND id = $2", tenant_id, subscriber
    )
    return number
