"""Operations in the database. The dispatcher carries them out."""

from collections import Counter
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection

from carillon_api.operators.models import DryRun, Operation, OperationKind

DRY_RUN_LIMIT = 20_000
"""Most dead letters that a dry run looks at."""

_COUNT_LIMIT = 2_000_000
_ENDLESS = "'infinity'::timestamptz"
_COUNT = f"""
SELECT l.reason::text, count(*) AS n
FROM carillon.matching_dead_letters($1, $2, {_ENDLESS}, NULL, NULL, {_COUNT_LIMIT}) AS m
JOIN carillon.dead_letters l ON l.delivery_id = m.delivery_id
GROUP BY l.reason ORDER BY l.reason
"""
_OLDEST = f"SELECT delivery_id FROM carillon.matching_dead_letters($1, $2, {_ENDLESS}, NULL, NULL, $3)"
_SKIPS = "SELECT skip::text, count(*) AS n FROM carillon.replay_skips($1, $2, $3) GROUP BY skip"
_BEGIN = """
INSERT INTO carillon.operations (tenant_id, kind, filter, reason, actor, rate_per_second, matched)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
"""
_COLUMNS = """id, kind, status, filter, reason, actor, rate_per_second, matched, acted, skipped, error,
    created_at, updated_at, ended_at"""
_GET = f"SELECT {_COLUMNS} FROM carillon.operations WHERE id = $1 AND tenant_id = $2"
_STOP = """
UPDATE carillon.operations SET status = 'stopped', ended_at = now(), updated_at = now()
WHERE id = $1 AND tenant_id = $2 AND status = 'running'
"""


async def count(connection: Connection, *, tenant_id: int, chosen: dict[str, Any]) -> dict[str, int]:
    """Return how many dead letters match, by reason."""
    rows = await connection.fetch(_COUNT, tenant_id, chosen)
    return {row["reason"]: row["n"] for row in rows}


async def dry_run(
    connection: Connection, kind: OperationKind, *, tenant_id: int, chosen: dict[str, Any]
) -> DryRun:
    """Return what an operation would do now."""
    matched = sum((await count(connection, tenant_id=tenant_id, chosen=chosen)).values())
    if kind is OperationKind.DISCARD:
        return DryRun(matched=matched, acted=matched, skipped={}, complete=True)
    ids = [row["delivery_id"] for row in await connection.fetch(_OLDEST, tenant_id, chosen, DRY_RUN_LIMIT)]
    verdicts = await verdicts_of(connection, ids)
    acted = verdicts.pop(None, 0)
    skipped = {reason: n for reason, n in verdicts.items() if reason is not None}
    return DryRun(matched=matched, acted=acted, skipped=skipped, complete=matched <= DRY_RUN_LIMIT)


async def verdicts_of(connection: Connection, ids: list[UUID]) -> Counter[str | None]:
    """Return how many of these would stay dead, by reason; None: would be replayed."""
    if not ids:
        return Counter()
    rows = await connection.fetch(_SKIPS, ids, min(ids), max(ids))
    return Counter({row["skip"]: row["n"] for row in rows})


async def begin(
    connection: Connection,
    kind: OperationKind,
    *,
    tenant_id: int,
    chosen: dict[str, Any],
    reason: str,
    actor: str,
    rate: int,
    matched: int,
) -> UUID:
    """Store an operation, to be carried out from now on; return its id."""
    value = await connection.fetchval(_BEGIN, tenant_id, kind.value, chosen, reason, actor, rate, matched)
    return UUID(str(value))


async def get(connection: Connection, *, tenant_id: int, operation_id: UUID) -> Operation | None:
    """Return an operation with its progress; None when the tenant has none of that id."""
    row = await connection.fetchrow(_GET, operation_id, tenant_id)
    if row is None:
        return None
    looked_at = row["acted"] + sum(row["skipped"].values())
    over = row["status"] == "done" or not row["matched"]
    percent = 100.0 if over else min(100.0, round(100 * looked_at / row["matched"], 1))
    return Operation.model_validate({**dict(row), "percent": percent})


async def stop(connection: Connection, *, tenant_id: int, operation_id: UUID) -> bool:
    """Stop an operation after the batch it is at; return whether it was running."""
    return await connection.execute(_STOP, operation_id, tenant_id) == "UPDATE 1"
