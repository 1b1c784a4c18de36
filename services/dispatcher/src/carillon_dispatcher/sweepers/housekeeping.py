"""Makes room ahead and clears away behind."""

from typing import Final

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
_WEBHOOKS = """
    DELETE FROM carillon.webhook_messages WHERE id = ANY (ARRAY(
        SELECT id FROM carillon.webhook_messages
        WHERE status <> 'waiting' AND created_at < now() - make_interval(days => $1)
        ORDER BY created_at LIMIT $2))
"""
_COLLAPSED = "SELECT carillon.clear_collapsed($1)"
_CONVERSATIONS = "DELETE FROM carillon.conversations WHERE wrote_at < now() - interval '2 days'"
# Kept for a while after they ended, for whoever wonders why nothing came.
_SUPPRESSIONS = "DELETE FROM carillon.suppressions WHERE expires_at < now() - interval '30 days'"
_WATERMARKS = "DELETE FROM carillon.queue_watermarks WHERE updated_at < now() - interval '1 day'"
# They belong to deliveries, and go when those are no longer kept.
_CORRECTIONS = """
    DELETE FROM carillon.corrections k
    WHERE k.updated_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM carillon.deliveries d WHERE d.id = k.delivery_id)
"""
# Those of completed events go with the completion; these were cancelled or expired on their way.
_RANGES = """
    DELETE FROM carillon.fanout_ranges r USING carillon.events e
    WHERE e.id = r.event_id AND e.status NOT IN ('dispatching', 'dispatched')
      AND e.accepted_at < now() - interval '1 day'
"""
# Kept as long as deliveries are: a dead one may still be sent again, with its members.
_DIGESTS = """
    WITH gone AS (
        DELETE FROM carillon.digests WHERE id = ANY (ARRAY(
            SELECT id FROM carillon.digests WHERE closed_at < now() - make_interval(days => $1)
            ORDER BY closed_at LIMIT $2))
        RETURNING id
    )
    DELETE FROM carillon.digest_members m USING gone g WHERE m.digest_id = g.id
"""
# What nobody could read is a dead letter of its own kind.
_POISON = "DELETE FROM carillon.poison_messages WHERE received_at < now() - make_interval(days => $1)"
LONGEST_WINDOW_DAYS: Final = 31
"""No limit looks further back (an event type's throttle: 30 days at most)."""
# The next rows by key. A row that is used meanwhile is looked at again as it is then, and stays.
_SLOTS = """
    WITH looked AS MATERIALIZED (
        SELECT tenant_id, subscriber, scope, channel FROM carillon.limit_slots
        WHERE (tenant_id, subscriber, scope, channel) > ($1, $2, $3, $4::text::carillon.channel)
        ORDER BY tenant_id, subscriber, scope, channel LIMIT $5
    ), gone AS (
        DELETE FROM carillon.limit_slots l USING looked k
        WHERE l.tenant_id = k.tenant_id AND l.subscriber = k.subscriber AND l.scope = k.scope
          AND l.channel = k.channel
          AND NOT now() - make_interval(days => $6) < ANY (l.taken)
    )
    SELECT k.tenant_id, k.subscriber, k.scope, k.channel::text, count(*) OVER () AS looked FROM looked k
    ORDER BY k.tenant_id DESC, k.subscriber DESC, k.scope DESC, k.channel DESC LIMIT 1
"""
_BEFORE_ALL_SLOTS = (0, 0, "", "email")


class Housekeeping:
    """Partitions of the days to come; event keys, slots, tickets and marks that nobody needs any more."""

    def __init__(
        self,
        pool: Pool,
        *,
        duplicate_days: int,
        batch: int,
        webhook_days: int = 14,
        digest_days: int = 90,
        poison_days: int = 90,
    ) -> None:
        self._pool = pool
        self._webhook_days = webhook_days
        self._digest_days = digest_days
        self._poison_days = poison_days
        self._duplicate_days = duplicate_days
        self._batch = batch
        self._slots_from: tuple[int, int, str, str] = _BEFORE_ALL_SLOTS

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
            await connection.execute(_DIGESTS, self._digest_days, self._batch)
            await connection.execute(_POISON, self._poison_days)
            await connection.execute(_CORRECTIONS)
            await connection.execute(_CONVERSATIONS)
            await connection.execute(_SUPPRESSIONS)
            tag = await connection.execute(_KEYS, self._duplicate_days, self._batch)
        return int(tag.split()[-1])

    async def clear_slots(self) -> int:
        """Delete limits' slots that were taken too long ago to count; return how many rows were looked at."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            last = await connection.fetchrow(_SLOTS, *self._slots_from, self._batch, LONGEST_WINDOW_DAYS)
        looked = last["looked"] if last else 0
        self._slots_from = tuple(last)[:4] if last and looked == self._batch else _BEFORE_ALL_SLOTS
        return int(looked)

    async def clear_collapsed(self) -> int:
        """Forget which events that are over came with a collapse key; return how many."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            return int(await connection.fetchval(_COLLAPSED, self._batch))

    async def clear_webhooks(self) -> int:
        """Delete webhooks that were posted or have failed long ago; return how many went."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            tag = await connection.execute(_WEBHOOKS, self._webhook_days, self._batch)
        return int(tag.split()[-1])
