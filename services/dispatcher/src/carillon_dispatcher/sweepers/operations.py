"""Carries out the replays and discards that operators asked for, in batches, at the wanted rate."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.db.pool import Connection, Pool, transaction
from carillon_shared.db.transient import is_transient
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.replaying import Wish, publish_replayed, replay

log = structlog.get_logger(__name__)

NO_LONGER_DEAD = "no_longer_dead"
"""Skipped because another operation, or retention, was there first."""

MAX_BATCH = 500
# A batch is at most what the rate allows in this time, so that a stop acts soon.
_BATCH_SECONDS = 1.0
# A replay of more goes by the bulk lane, so that nothing new and urgent waits behind it.
_KEEP_LANE = 100

# The lock is the claim, and ends with the transaction, however that ends.
_CLAIM = """
    SELECT * FROM carillon.operations WHERE status = 'running' AND kind <> 'reconcile' AND next_at <= now()
    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_PAGE = "SELECT delivery_id, dead_at FROM carillon.matching_dead_letters($1, $2, $3, $4, $5, $6)"
_DISCARD = "SELECT delivery_id FROM carillon.discard_dead($1, $2, $3, $4, $5, $6)"
# Time that was missed is made up for, two seconds of it at most.
_ADVANCE = """
    UPDATE carillon.operations
    SET acted = acted + $2, skipped = $3,
        last_dead_at = coalesce($4, last_dead_at), last_id = coalesce($5, last_id),
        next_at = greatest(next_at, now() - interval '2 seconds')
                  + make_interval(secs => $2::double precision / rate_per_second),
        status = CASE WHEN $6 THEN 'done' ELSE status END, ended_at = CASE WHEN $6 THEN now() END,
        updated_at = now()
    WHERE id = $1
"""
_AUDIT = """
    INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
    SELECT tenant_id, actor, 'operation.' || status, id::text, reason,
           jsonb_build_object('kind', kind, 'acted', acted, 'skipped', skipped, 'error', error)
    FROM carillon.operations WHERE id = $1
"""
_FAIL = """
    UPDATE carillon.operations SET status = 'failed', error = $2, ended_at = now(), updated_at = now()
    WHERE id = $1 AND status = 'running'
"""


@dataclass(slots=True)
class Batch:
    """What one batch of an operation has done."""

    operation: UUID
    tenant_id: int
    looked_at: int = 0
    ended: bool = False
    replayed: Sequence[asyncpg.Record] = ()
    discarded: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    last_dead_at: datetime | None = None
    last_id: UUID | None = None

    @property
    def acted(self) -> int:
        """How many were replayed or discarded."""
        return len(self.replayed) + self.discarded


class Operations:
    """Takes the operation whose turn it is and does its next batch.

    States are committed before anything is published. Should this process end in between, the rows say what
    is owed, and the release of holds publishes it. `on_end` is called when an operation has done everything.
    """

    def __init__(self, pool: Pool, publisher: Publishing, *, on_end: Callable[[], None]) -> None:
        self._pool = pool
        self._publisher = publisher
        self._on_end = on_end

    async def work(self) -> int:
        """Do one batch of one operation; return 1, or 0 when none is due."""
        claimed: asyncpg.Record | None = None
        try:
            async with transaction(self._pool) as connection:
                claimed = await connection.fetchrow(_CLAIM)
                if claimed is None:
                    return 0
                batch = await _do(connection, claimed)
        except Exception as error:
            if claimed is None or is_transient(error):
                raise
            await self._fail(claimed["id"], error)
            return 1
        crash_point(CrashPoint.OPERATION_AFTER_COMMIT)
        await publish_replayed(self._pool, self._publisher, batch.replayed)
        if batch.ended:
            log.info("operation done", operation=str(batch.operation))
            self._on_end()
        return 1

    async def _fail(self, operation: UUID, error: Exception) -> None:
        """End an operation that would fail again and again."""
        log.error("operation failed", operation=str(operation), exc_info=error)
        async with transaction(self._pool) as connection:
            await connection.execute(_FAIL, operation, f"{type(error).__name__}: {error}")
            await connection.execute(_AUDIT, operation)


async def _do(connection: Connection, claimed: asyncpg.Record) -> Batch:
    size = max(1, min(MAX_BATCH, int(claimed["rate_per_second"] * _BATCH_SECONDS)))
    page = await connection.fetch(
        _PAGE,
        claimed["tenant_id"],
        claimed["filter"],
        claimed["created_at"],
        claimed["last_dead_at"],
        claimed["last_id"],
        size,
    )
    batch = Batch(claimed["id"], claimed["tenant_id"], looked_at=len(page), ended=len(page) < size)
    if page:
        batch.last_dead_at, batch.last_id = page[-1]["dead_at"], page[-1]["delivery_id"]
        ids = [row["delivery_id"] for row in page]
        await (_replay if claimed["kind"] == "replay" else _discard)(connection, claimed, ids, batch)
    await _write_down(connection, claimed, batch)
    return batch


async def _replay(connection: Connection, claimed: asyncpg.Record, ids: list[UUID], batch: Batch) -> None:
    wish = Wish(
        actor=claimed["actor"],
        reason=claimed["reason"],
        operation=claimed["id"],
        lane=Lane.BULK if claimed["matched"] > _KEEP_LANE else None,
        overrides=claimed["overrides"],
    )
    done = await replay(connection, ids, wish)
    batch.replayed = done.rows
    batch.skipped.update(done.reasons())
    _count_missing(batch, len(ids) - len(done.rows) - len(done.refused))


async def _discard(connection: Connection, claimed: asyncpg.Record, ids: list[UUID], batch: Batch) -> None:
    who = (claimed["actor"], claimed["reason"], claimed["id"])
    batch.discarded = len(await connection.fetch(_DISCARD, ids, min(ids), max(ids), *who))
    _count_missing(batch, len(ids) - batch.discarded)


def _count_missing(batch: Batch, missing: int) -> None:
    if missing:
        batch.skipped[NO_LONGER_DEAD] = missing


async def _write_down(connection: Connection, claimed: asyncpg.Record, batch: Batch) -> None:
    skipped = dict(Counter(claimed["skipped"]) + batch.skipped)
    await connection.execute(
        _ADVANCE, batch.operation, batch.acted, skipped, batch.last_dead_at, batch.last_id, batch.ended
    )
    if batch.ended:
        await connection.execute(_AUDIT, batch.operation)
    metrics.OPERATED.labels(claimed["kind"], "done").inc(batch.acted)
    metrics.OPERATED.labels(claimed["kind"], "skipped").inc(batch.skipped.total())
