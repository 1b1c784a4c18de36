"""Makes room ahead and clears away behind."""

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Pool

log = structlog.get_logger(__name__)

DAYS_AHEAD = 10
_PARTITIONS = "SELECT carillon.ensure_partitions((now() AT TIME ZONE 'UTC')::date, $1)"
_KEYS = """
    DELETE FROM carillon.event_keys WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM carillon.event_keys WHERE accepted_at < now() - make_interval(days => $1)
        ORDER BY accepted_at LIMIT $2))
"""
_TICKETS = "DELETE FROM carillon.stream_tickets WHERE token_expires_at < now()"
_WATERMARKS = "DELETE FROM carillon.queue_watermarks WHERE updated_at < now() - interval '1 day'"
# Those of completed events go with the completion; these were cancelled or expired on their way.
_RANGES = """
    DELETE FROM carillon.fanout_ranges r USING carillon.events e
    WHERE e.id = r.event_id AND e.status NOT IN ('dispatching', 'dispatched')
      AND e.accepted_at < now() - interval '1 day'
"""


class Housekeeping:
    """Partitions of the days to come; event keys, tickets and marks that nobody needs any more."""

    def __init__(self, pool: Pool, *, duplicate_days: int, batch: int) -> None:
        self._pool = pool
        self._duplicate_days = duplicate_days
        self._batch = batch

    async def make_partitions(self) -> int:
        """Have partitions for the next ten days. Returns 0: there is never more to do at once."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            made = await connection.fetchval(_PARTITIONS, DAYS_AHEAD)
        if made:
            log.info("partitions made", partitions=made)
        return 0

    async def clear_away(self) -> int:
        """Delete what has outlived its use; return how many event keys went."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(_TICKETS)
            await connection.execute(_WATERMARKS)
            await connection.execute(_RANGES)
            tag = await connection.execute(_KEYS, self._duplicate_days, self._batch)
        return int(tag.split()[-1])
