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
    channels::text[], audience, actor, accepted_at, deliver_at, expires_at, cancelled_at"""

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
_CANCEL_BATCH = 5_000
_AT_REST = FINAL_STATUSES | {DeliveryStatus.DEAD}
_SENT = (DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ)
_IN_FLIGHT = (DeliveryStatus.SENDING, DeliveryStatus.UNKNOWN)


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
        f"SELECT {_COLUMNS}, data, plan_error FROM carillon.events WHERE id = $1 AND tenant_id = $2",
        event_id,
        tenant_id,
    )
    if row is None:
        return None
    counts = await _counts(connection, event_id)
    progress = progress_of(counts, completed=row["status"] == EventStatus.COMPLETED)
    return EventDetail.model_validate({**dict(row), "progress": progress})


def progress_of(counts: dict[DeliveryStatus, int], *, completed: bool) -> Progress:
    """Return the progress of an event with so many deliveries in each state."""
    total = sum(counts.values())
    settled = sum(count for status, count in counts.items() if status in _AT_REST)
    percent = 100.0 * settled / total if total else 100.0 if completed else 0.0
    # Shown as 100 only when nothing is left.
    percent = min(round(percent, 1), 99.9) if settled < total else percent
    return Progress(total=total, by_status=counts, percent=percent)


async def mark_cancelled(connection: Connection, *, tenant_id: int, event_id: UUID) -> int | None:
    """Cancel the event itself; what is planned or leased from then on is not sent.

    Returns how many ranges of its audience are not planned; None when the tenant has no such event.
    """
    row = await connection.fetchrow("SELECT * FROM carillon.cancel_event($1, $2)", tenant_id, event_id)
    unplanned: int | None = row["unplanned"] if row else None
    return unplanned


async def stop_deliveries(
    connection: Connection, *, tenant_id: int, event_id: UUID, after: UUID | None
) -> UUID | None:
    """Stop what has not begun among the event's next few thousand deliveries; returns where to go on."""
    last: UUID | None = await connection.fetchval(
        "SELECT carillon.cancel_deliveries($1, $2, $3, $4)", tenant_id, event_id, after, _CANCEL_BATCH
    )
    return last


async def cancelled(connection: Connection, *, event_id: UUID, unplanned: int) -> Cancelled:
    """Return what cancelling came to so far."""
    counts = await _counts(connection, event_id)
    return Cancelled(
        stopped=counts.get(DeliveryStatus.CANCELLED, 0),
        already_sent=sum(counts.get(status, 0) for status in _SENT),
        in_flight=sum(counts.get(status, 0) for status in _IN_FLIGHT),
        unplanned=unplanned,
    )


async def _counts(connection: Connection, event_id: UUID) -> dict[DeliveryStatus, int]:
    rows: list[Any] = await connection.fetch(_COUNT, *delivery_id_range(event_id), event_id)
    return {DeliveryStatus(row["status"]): row["count"] for row in rows}
