"""The event of an explanation, in the database. Its deliveries are read as everywhere else."""

from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection

_EVENT = """
SELECT id, type, status::text, accepted_at, deliver_at, expires_at, cancelled_at, replaced_by, plan_error,
    planned_at
FROM carillon.events WHERE id = $1 AND tenant_id = $2
"""


async def get_event(connection: Connection, *, tenant_id: int, event_id: UUID) -> dict[str, Any] | None:
    """Return what an explanation needs of an event; None when the tenant has none of that id."""
    row = await connection.fetchrow(_EVENT, event_id, tenant_id)
    return dict(row) if row else None
