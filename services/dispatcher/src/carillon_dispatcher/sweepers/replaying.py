"""Sends dead letters again: the rows first, then the messages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Connection, Pool
from carillon_shared.domain.lanes import Lane

from carillon_dispatcher.planning.chunks import chunks_of
from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.rescued import rescued, works_of

log = structlog.get_logger(__name__)

# What nobody has published by then is published by the release of holds.
_OWED_SECONDS = 30.0
_REPLAY = "SELECT * FROM carillon.replay_dead($1, $2, $3, $4, $5, $6, $7, $8::text::carillon.lane, $9)"
_PUBLISHED = """
    DELETE FROM carillon.due u USING unnest($1::uuid[], $2::timestamptz[]) AS w(id, due_at)
    WHERE u.delivery_id = w.id AND u.due_at = w.due_at AND u.kind = 'hold'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who wants dead letters sent again, and how. Without a lane each goes by its own."""

    actor: str
    reason: str
    operation: UUID | None = None
    lane: Lane | None = None
    overrides: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of dead letters that were to be sent again. Those missing here were not dead any more."""

    rows: Sequence[asyncpg.Record]  # queued now
    refused: dict[UUID, str]  # dead still, with the reason

    def reasons(self) -> Counter[str]:
        """Return how many were refused, by reason."""
        return Counter(self.refused.values())


async def replay(connection: Connection, ids: Sequence[UUID], wish: Wish) -> Replayed:
    """Queue those of these that are dead and may go out again, in the caller's transaction."""
    found = await connection.fetch(
        _REPLAY,
        ids,
        min(ids),
        max(ids),
        wish.actor,
        wish.reason,
        wish.operation,
        _OWED_SECONDS,
        wish.lane,
        wish.overrides,
    )
    refused = {row["delivery_id"]: row["skip"] for row in found if row["skip"] is not None}
    return Replayed([row for row in found if row["skip"] is None], refused)


async def publish_replayed(pool: Pool, publisher: Publishing, rows: Sequence[asyncpg.Record]) -> None:
    """Publish what was queued, once that is committed. What the broker does not take stays owed."""
    if not rows:
        return
    outgoings = chunks_of(works_of(rescued(row) for row in rows))
    failed = [error for error in await publisher.publish_many(outgoings) if error is not None]
    log.info("dead letters replayed", deliveries=len(rows), messages=len(outgoings), failed=len(failed))
    if failed:
        return
    async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
        ids = [row["delivery_id"] for row in rows]
        await connection.execute(_PUBLISHED, ids, [row["due_at"] for row in rows])
