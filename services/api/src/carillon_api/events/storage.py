"""Events in the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection
from carillon_shared.domain.states import FINAL_STATUSES, DeliveryStatus, EventStatus
from carillon_shared.ids import delivery_id_range

from carillon_api.events.models import Cancelled, Event, EventDetail, Progress

_COLUMNS = """id, type, source, external_id, subject, time, status::text, category, lane::text AS priority,
    channels::text[], audience, actor, accepted_at, deliver_at, expires_at, cancelled_at,
    collapse_key, replaced_by"""

# Newest first: ids begin with the time of acceptance.
_LIST = f"""
SELECT {_COLUMNS} FROM carillon.events
WHERE tenant_id = $1
  AND ($2::uuid IS NULL OR id < $2)
  AND id >= coalesce(carillon.uuid_floor($3::timestamptz), '00000000-0000-0000-0000-000000000000')
  AND id < coalesce(carillon.uuid_floor($4::timestamptz), 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  AND ($5::text IS NULL OR type = $5)
  AND ($6::text IS NULL OR status = $6::text::carillon.event_status)
ORDER BY id DESC LIMIT $7
"""
_COUNT = """
SELECT status::text, count(*) AS count FROM carillon.deliveries
WHERE id BETWEEN $1 AND $2 AND event_id = $3 GROUP BY status
"""
_OLDER_ENDED = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8"
CANCEL_BATCH = 5_000
"""Deliveries stopped by one statement."""

_AT_REST = FINAL_STATUSES | {DeliveryStatus.DEAD}
_SENT = (DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ)
_IN_FLIGHT = (DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN)
# Those that are not flipped yet: every stage asks whether the event is cancelled before it sends.
_STOPPED = (
    DeliveryStatus.CANCELLED,
    DeliveryStatus.HELD,
    DeliveryStatus.QUEUED,
    DeliveryStatus.RETRYING,
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list."""

    type: str | None
    status: EventStatus | None
    since: datetime | None
    until: datetime | None


async def list_events(
    connection: Connection, *, tenant_id: int, wanted: EventFilter, before: UUID | None, limit: int
) -> list[Event]:
    """Return events, newest first."""
    status = wanted.status.value if wanted.status else None
    rows = await connection.fetch(
        _LIST, tenant_id, before, wanted.since, wanted.until, wanted.type, status, limit
    )
    return [Event.model_validate(dict(row)) for row in rows]


async def get_event(connection: Connection, *, tenant_id: int, event_id: UUID) -> EventDetail | None:
    """Return one event with its progress; None when the tenant has none of that id."""
    row = await connection.fetchrow(
        f"""SELECT {_COLUMNS}, data, plan_error, unplanned
        FROM carillon.events WHERE id = $1 AND tenant_id = $2""",
        event_id,
        tenant_id,
    )
    if row is None:
        return None
    counts = await _counts(connection, event_id)
    progress = progress_of(counts, completed=row["status"] == EventStatus.COMPLETED)
    is_cancelled = row["status"] == EventStatus.CANCELLED
    cancellation = cancellation_of(counts, unplanned=row["unplanned"] or 0) if is_cancelled else None
    return EventDetail.model_validate({**dict(row), "progress": progress, "cancellation": cancellation})


def progress_of(counts: dict[DeliveryStatus, int], *, completed: bool) -> Progress:
    """Return the progress of an event with so many deliveries in each state."""
    total = sum(counts.values())
    settled = sum(count for status, count in counts.items() if status in _AT_REST)
    percent = 100.0 * settled / total if total else 100.0 if completed else 0.0
    # Shown as 100 only when nothing is left.
    percent = min(round(percent, 1), 99.9) if settled < total else percent
    return Progress(total=total, by_status=counts, percent=percent)


async def mark_cancelled(connection: Connection, *, tenant_id: int, event_id: UUID) -> str | None:
    """Cancel the event itself; what is planned or leased from then on is not sent.

    Returns this transaction, for `older_ended`; None when the tenant has no such event.
    """
    row = await connection.fetchrow("SELECT * FROM carillon.cancel_event($1, $2)", tenant_id, event_id)
    transaction: str | None = row["transaction"] if row else None
    return transaction


async def older_ended(connection: Connection, transaction: str) -> bool:
    """Return whether all that wrote when this transaction began is over: it may not have seen it."""
    ended: bool = await connection.fetchval(_OLDER_ENDED, transaction)
    return ended


async def stop_deliveries(
    connection: Connection, *, tenant_id: int, event_id: UUID, after: UUID | None
) -> UUID | None:
    """Stop what has not begun among the event's next few thousand deliveries; returns where to go on."""
    last: UUID | None = await connection.fetchval(
        "SELECT carillon.cancel_deliveries($1, $2, $3, $4)", tenant_id, event_id, after, CANCEL_BATCH
    )
    return last


async def cancelled(connection: Connection, *, tenant_id: int, event_id: UUID) -> Cancelled:
    """Return what cancelling has come to so far."""
    unplanned = await connection.fetchval("SELECT carillon.count_unplanned($1, $2)", tenant_id, event_id)
    return cancellation_of(await _counts(connection, event_id), unplanned=unplanned)


def cancellation_of(counts: dict[DeliveryStatus, int], *, unplanned: int) -> Cancelled:
    """Return what cancelling has come to for an event with so many deliveries in each state."""
    return Cancelled(
        stopped=sum(counts.get(status, 0) for status in _STOPPED),
        already_sent=sum(counts.get(status, 0) for status in _SENT),
        in_flight=sum(counts.get(status, 0) for status in _IN_FLIGHT),
        unplanned=unplanned,
    )


async def _counts(connection: Connection, event_id: UUID) -> dict[DeliveryStatus, int]:
    rows: list[Any] = await connection.fetch(_COUNT, *delivery_id_range(event_id), event_id)
    return {DeliveryStatus(row["status"]): row["count"] for row in rows}
