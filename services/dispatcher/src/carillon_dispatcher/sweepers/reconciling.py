"""Carries out the reconciliations that operators asked for: one pass through each dead queue."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Pool, transaction
from carillon_shared.db.transient import is_transient

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.dead_queues import DeadQueue
from carillon_dispatcher.sweepers.reconciliations import Reconciler, UnpublishedError

log = structlog.get_logger(__name__)

# The claim is time: a pass takes longer than a transaction may. Should this process end, another one begins
# the pass again after this; should the pass take longer, the other one finds the queue taken.
_CLAIM = """
    UPDATE carillon.operations o SET next_at = now() + interval '30 seconds'
    FROM carillon.tenants t
    WHERE t.id = o.tenant_id AND o.id = (
        SELECT c.id FROM carillon.operations c
        WHERE c.status = 'running' AND c.kind = 'reconcile' AND c.next_at <= now()
        ORDER BY c.next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING o.id, o.filter, o.dry_run, o.report, t.slug
"""
_NOTE = """
    UPDATE carillon.operations
    SET report = coalesce(report, '{}') || jsonb_build_object($2::text, $3::jsonb),
        acted = acted + $4,
        skipped = jsonb_build_object('agreed', coalesce((skipped->>'agreed')::integer, 0) + $5::integer),
        next_at = now() + interval '30 seconds', updated_at = now()
    WHERE id = $1 AND status = 'running' RETURNING id
"""
_END = """
    UPDATE carillon.operations SET status = $2, error = $3, ended_at = now(), updated_at = now()
    WHERE id = $1 AND status = 'running' RETURNING id
"""
_AUDIT = """
    INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
    SELECT tenant_id, actor, 'operation.' || status, id::text, reason,
           jsonb_build_object('kind', kind, 'dry_run', dry_run, 'report', report, 'error', error)
    FROM carillon.operations WHERE id = $1
"""


class Reconciliations:
    """Takes a reconciliation and goes through the queues that are left. A stop acts between two queues."""

    def __init__(self, queues: Sequence[DeadQueue], pool: Pool, publisher: Publishing) -> None:
        self._pool = pool
        self._queues = {queue.channel.value: Reconciler(queue, pool, publisher) for queue in queues}

    async def sweep(self) -> int:
        """Carry out the reconciliation whose turn it is; return 0 when none is due, or its queue is taken."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            claimed = await connection.fetchrow(_CLAIM)
        if claimed is None:
            return 0
        try:
            return int(await self._go_through(claimed))
        except UnpublishedError as error:
            log.warning("reconciliation_waits_for_the_broker", reason=str(error))
            return 0
        except Exception as error:
            if is_transient(error) or isinstance(error, TimeoutError):
                raise
            log.exception("operation failed", operation=str(claimed["id"]))
            await self._end(claimed["id"], "failed", f"{type(error).__name__}: {error}")
            return 1

    async def _go_through(self, claimed: asyncpg.Record) -> bool:
        wanted = claimed["filter"].get("channel")
        done = claimed["report"] or {}
        for channel, reconciler in self._queues.items():
            if wanted not in {None, channel} or channel in done:
                continue
            counts = await reconciler.reconcile(claimed["slug"], dry_run=claimed["dry_run"])
            if counts is None or not await self._note(claimed["id"], channel, counts):
                return False
        await self._end(claimed["id"], "done", None)
        return True

    async def _note(self, operation: UUID, channel: str, counts: dict[str, int]) -> bool:
        """Write down what a pass has found; return whether the operation goes on."""
        mended = counts["stale"] + counts["duplicate"] + counts["missing"]
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            row = await connection.fetchval(_NOTE, operation, channel, counts, mended, counts["agreed"])
        return row is not None

    async def _end(self, operation: UUID, status: str, error: str | None) -> None:
        async with transaction(self._pool) as connection:
            if await connection.fetchval(_END, operation, status, error) is not None:
                await connection.execute(_AUDIT, operation)
