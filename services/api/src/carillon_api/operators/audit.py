"""Who did what, in the database."""

from typing import Any

from carillon_shared.db.pool import Connection
from carillon_shared.telemetry.masking import mask_value

from carillon_api.operators.models import AuditEntry

_LIST = """
SELECT id, at, actor, action, target, reason, details FROM carillon.audit_log
WHERE tenant_id = $1 AND ($2::bigint IS NULL OR id < $2)
  AND ($3::text IS NULL OR action = $3) AND ($4::text IS NULL OR target = $4)
ORDER BY id DESC LIMIT $5
"""
_NOTE = """
INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def list_entries(
    connection: Connection,
    *,
    tenant_id: int,
    before: int | None,
    action: str | None,
    target: str | None,
    limit: int,
) -> list[AuditEntry]:
    """Return entries, newest first. Addresses in their details are masked; the rows keep them."""
    rows = await connection.fetch(_LIST, tenant_id, before, action, target, limit)
    return [_entry(row) for row in rows]


def _entry(row: Any) -> AuditEntry:
    return AuditEntry.model_validate({**dict(row), "details": mask_value(row["details"])})


async def note(
    connection: Connection,
    *,
    tenant_id: int,
    actor: str,
    action: str,
    target: str,
    reason: str | None,
    details: dict[str, Any],
) -> None:
    """Write down what an operator asks for, in the transaction that does it."""
    await connection.execute(_NOTE, tenant_id, actor, action, target, reason, details)
