"""Operations in the database. The dispatcher carries them out."""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection
from carillon_shared.telemetry.masking import mask_value

from carillon_api.operators.models import DEFAULT_RATE, DryRun, Operation, OperationKind

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
_SKIPS = "SELECT skip::text, count(*) AS n FROM carillon.replay_skips($1, $2, $3, $4) GROUP BY skip"
_BEGIN = """
INSERT INTO carillon.operations (
    tenant_id, kind, filter, reason, actor, rate_per_second, matched, overrides, dry_run)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id
"""
_COLUMNS = """id, kind, status, filter, overrides, reason, actor, rate_per_second, matched, acted, skipped,
    error, dry_run, report, created_at, updated_at, ended_at"""
_GET = f"SELECT {_COLUMNS} FROM carillon.operations WHERE id = $1 AND tenant_id = $2"
_STOP = """
UPDATE carillon.operations SET status = 'stopped', ended_at = now(), updated_at = now()
WHERE id = $1 AND tenant_id = $2 AND status = 'running'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator wants done to which dead letters."""

    kind: OperationKind
    chosen: dict[str, Any]
    reason: str = ""
    rate: int = DEFAULT_RATE
    overrides: dict[str, Any] | None = None
    dry_run: bool = False  # of a reconciliation; the others' dry runs are answered at once


async def count(connection: Connection, *, tenant_id: int, chosen: dict[str, Any]) -> dict[str, int]:
    """Return how many dead letters match, by reason."""
    rows = await connection.fetch(_COUNT, tenant_id, chosen)
    return {row["reason"]: row["n"] for row in rows}


async def dry_run(connection: Connection, order: Order, *, tenant_id: int) -> DryRun:
    """Return what an operation would do now."""
    matched = sum((await count(connection, tenant_id=tenant_id, chosen=order.chosen)).values())
    if order.kind is OperationKind.DISCARD:
        return DryRun(matched=matched, acted=matched, skipped={}, complete=True)
    ids = [
        row["delivery_id"] for row in await connection.fetch(_OLDEST, tenant_id, order.chosen, DRY_RUN_LIMIT)
    ]
    verdicts = await verdicts_of(connection, ids, order.overrides)
    acted = verdicts.pop(None, 0)
    skipped = {reason: n for reason, n in verdicts.items() if reason is not None}
    return DryRun(matched=matched, acted=acted, skipped=skipped, complete=matched <= DRY_RUN_LIMIT)


async def verdicts_of(
    connection: Connection, ids: list[UUID], overrides: dict[str, Any] | None = None
) -> Counter[str | None]:
    """Return how many of these would stay dead, by reason; None: would be replayed."""
    if not ids:
        return Counter()
    rows = await connection.fetch(_SKIPS, ids, min(ids), max(ids), overrides)
    return Counter({row["skip"]: row["n"] for row in rows})


async def begin(connection: Connection, order: Order, *, tenant_id: int, actor: str, matched: int) -> UUID:
    """Store an operation, to be carried out from now on; return its id."""
    value = await connection.fetchval(
        _BEGIN,
        tenant_id,
        order.kind.value,
        order.chosen,
        order.reason,
        actor,
        order.rate,
        matched,
        order.overrides,
        order.dry_run,
    )
    return UUID(str(value))


async def get(connection: Connection, *, tenant_id: int, operation_id: UUID) -> Operation | None:
    """Return an operation with its progress; None when the tenant has none of that id."""
    row = await connection.fetchrow(_GET, operation_id, tenant_id)
    if row is None:
        return None
    looked_at = row["acted"] + sum(row["skipped"].values())
    over = row["status"] == "done" or not row["matched"]
    percent = 100.0 if over else min(100.0, round(100 * looked_at / row["matched"], 1))
    overrides = mask_value(row["overrides"])
    return Operation.model_validate({**dict(row), "overrides": overrides, "percent": percent})


async def stop(connection: Connection, *, tenant_id: int, operation_id: UUID) -> bool:
    """Stop an operation after the batch it is at; return whether it was running."""
    return await connection.execute(_STOP, operation_id, tenant_id) == "UPDATE 1"
