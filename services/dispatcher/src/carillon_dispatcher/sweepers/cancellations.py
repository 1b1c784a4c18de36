"""Goes on stopping the deliveries of cancelled events where a request, or another dispatcher, left off."""

import structlog
from carillon_shared.db.pool import Pool, transaction

log = structlog.get_logger(__name__)

_BATCH = 5_000
_CLAIM = """
    SELECT event_id, tenant_id, last_seen FROM carillon.cancellations WHERE next_at <= now()
    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_STOP = "SELECT carillon.cancel_deliveries($1, $2, $3, $4)"
_COUNT = "SELECT carillon.count_unplanned($1, $2)"
# Steps that follow at once; the pause is for who has died.
_AT_ONCE = "UPDATE carillon.cancellations SET next_at = now() WHERE event_id = $1"


class Cancellations:
    """Each call is one step: a few thousand deliveries of one event, in one transaction."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sweep(self) -> int:
        """Do the next step; return 1, or 0 when none is due."""
        async with transaction(self._pool) as connection:
            row = await connection.fetchrow(_CLAIM)
            if row is None:
                return 0
            last = await connection.fetchval(
                _STOP, row["tenant_id"], row["event_id"], row["last_seen"], _BATCH
            )
            if last is None:
                await connection.execute(_COUNT, row["tenant_id"], row["event_id"])
                log.info("cancelled event stopped", event_id=str(row["event_id"]))
            else:
                await connection.execute(_AT_ONCE, row["event_id"])
        return 1
