"""Replays dead letters that somebody moved to a work queue with the broker's own tools."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog
from carillon_shared.db.pool import Connection, Pool, transaction
from carillon_shared.domain.lanes import Lane
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.dead_copies import copy_of_row
from carillon_dispatcher.sweepers.operations import NO_LONGER_DEAD
from carillon_dispatcher.sweepers.replaying import Replayed, Wish, publish_replayed, replay

log = structlog.get_logger(__name__)

BATCH = 500
ACTOR = "broker"
_WHY = "moved to a work queue with the broker's own tools"
_WISH = Wish(actor=ACTOR, reason=_WHY, lane=Lane.BULK)
_TAKE = "SELECT * FROM carillon.take_moved($1)"
_REFUSED = """
    INSERT INTO carillon.audit_log (tenant_id, actor, action, target, reason, details)
    SELECT r.tenant_id, $1, 'delivery.replay_refused', r.id::text, $2,
           jsonb_build_object('refused', r.refused, 'queue', r.queue)
    FROM unnest($3::integer[], $4::uuid[], $5::text[], $6::text[]) AS r(tenant_id, id, refused, queue)
"""


@dataclass(frozen=True, slots=True)
class _Done:
    replayed: Replayed
    refused: Sequence[tuple[asyncpg.Record, str]]


class MovedDeadLetters:
    """The same checks as for any replay. What must not go out again gets its copy back; the audit has why."""

    def __init__(self, pool: Pool, publisher: Publishing) -> None:
        self._pool = pool
        self._publisher = publisher

    async def sweep(self) -> int:
        """Act on the next that were moved; return how many those were.

        States are committed first, as for every replay; a copy that gets lost is what reconciling mends.
        """
        async with transaction(self._pool) as connection:
            rows = await connection.fetch(_TAKE, BATCH)
            if not rows:
                return 0
            done = await _replay(connection, [row for row in rows if row["tenant_id"] is not None])
        await publish_replayed(self._pool, self._publisher, done.replayed.rows)
        copies = [copy_of_row(row) for row, _ in done.refused if row["is_dead"]]
        if copies:
            await self._publisher.publish_many(copies)
        metrics.OPERATED.labels("replay", "done").inc(len(done.replayed.rows))
        metrics.OPERATED.labels("replay", "skipped").inc(len(done.refused))
        log.info("moved dead letters", replayed=len(done.replayed.rows), refused=len(done.refused))
        return len(rows)


async def _replay(connection: Connection, rows: Sequence[asyncpg.Record]) -> _Done:
    ids = [row["delivery_id"] for row in rows if row["is_dead"]]
    replayed = await replay(connection, ids, _WISH) if ids else Replayed([], {})
    gone = {row["delivery_id"] for row in replayed.rows}
    refused = [
        (row, replayed.refused.get(row["delivery_id"], NO_LONGER_DEAD))
        for row in rows
        if row["delivery_id"] not in gone
    ]
    if refused:
        await _note(connection, refused)
    return _Done(replayed, refused)


async def _note(connection: Connection, refused: Sequence[tuple[asyncpg.Record, str]]) -> None:
    await connection.execute(
        _REFUSED,
        ACTOR,
        _WHY,
        [row["tenant_id"] for row, _ in refused],
        [row["delivery_id"] for row, _ in refused],
        [reason for _, reason in refused],
        [row["queue"] for row, _ in refused],
    )
