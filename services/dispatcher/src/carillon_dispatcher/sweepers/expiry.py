"""Ends what is too late."""

from uuid import UUID

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.ids import delivery_id_range

log = structlog.get_logger(__name__)

_PAGE = 5000
_FIND = """
    SELECT id FROM carillon.events
    WHERE status IN ('dispatching', 'dispatched') AND expires_at <= now() AND id <> ALL ($1)
    ORDER BY id LIMIT $2
"""
# What nobody has approved or rejected in time: like every hold, this ends after 30 days.
_END_PENDING = """
    UPDATE carillon.events SET status = 'expired'
    WHERE id = ANY (ARRAY(
        SELECT id FROM carillon.events
        WHERE status = 'pending_approval'
          AND (expires_at <= now() OR id < carillon.uuid_floor(now() - interval '30 days'))
        ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED))
"""
# What is planned in part ends as expired; what is planned in full has its decisions in its deliveries.
_END = """
    UPDATE carillon.events SET status = 'expired', owed_at = NULL
    WHERE id = $1 AND status IN ('scheduled', 'accepted', 'dispatching') AND published_at IS NULL
      AND expires_at <= now()
"""
_END_DELIVERIES = """
    WITH page AS MATERIALIZED (
        SELECT id FROM carillon.deliveries WHERE id > $2 AND id <= $3 ORDER BY id LIMIT $4
    ), changed AS (
        UPDATE carillon.deliveries d
        SET status = 'expired', reason = 'expired', hold_reason = NULL, updated_at = now()
        WHERE d.id = ANY (ARRAY(SELECT id FROM page)) AND d.id > $2 AND d.id <= $3 AND d.event_id = $1
          AND d.status IN ('held', 'queued', 'retrying')
        RETURNING d.id
    ), no_longer_due AS (
        DELETE FROM carillon.due WHERE delivery_id = ANY (ARRAY(SELECT id FROM changed))
    )
    SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM changed) AS ended
"""


class Expiry:
    """Expires events and what of theirs has not begun. What is being sent ends by itself."""

    def __init__(self, pool: Pool, *, batch: int) -> None:
        self._pool = pool
        self._batch = batch
        self._done: set[UUID] = set()

    async def sweep(self) -> int:
        """Expire open events whose time has passed; return how many that were."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_FIND, list(self._done), self._batch)
        if not rows:
            self._done.clear()
        for row in rows:
            await self.expire(row["id"])
            self._done.add(row["id"])
        return len(rows)

    async def sweep_pending(self) -> int:
        """Expire events whose approval comes too late; return how many that were."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            tag = await connection.execute(_END_PENDING, self._batch)
        return int(tag.split()[-1])

    async def expire(self, event_id: UUID) -> None:
        """Expire one event whose time has passed, in pages of its deliveries."""
        ended = 0
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(_END, event_id)
            position, last = delivery_id_range(event_id)
            while True:
                row = await connection.fetchrow(_END_DELIVERIES, event_id, position, last, _PAGE)
                if row is None or row["last"] is None:
                    break
                position, ended = row["last"], ended + row["ended"]
        log.info("event expired", event_id=event_id, deliveries=ended)
