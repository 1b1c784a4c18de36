"""Takes what the dispatch queues gave up: no event is lost because planning it failed."""

from collections.abc import Sequence
from uuid import UUID

import structlog
from carillon_shared.consumer import Ack, Received, Settlement
from carillon_shared.contracts.messages import DeadDelivery, EventAccepted, RangePlanned
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.db.transient import is_transient
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.delivery.poison import PoisonStore
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import DISPATCH_DEAD_QUEUE

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.planning.ranges import range_message
from carillon_dispatcher.planning.rows import RangeKey

log = structlog.get_logger(__name__)

MOST_DEATHS = 3
"""Times that the broker may give an event up before it is marked as one that cannot be planned."""

WHY = "planning it ended the dispatcher again and again"
_OWE = "SELECT event_id FROM carillon.owe_again($1, $2, $3, $4, $5)"
# Refused by planning itself, and that is written down; what is not, is owed again.
_UNMARKED = """
    SELECT id FROM carillon.events
    WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2 AND $3 AND published_at IS NULL
      AND plan_error IS NULL AND owed_at IS NULL
"""
_RANGES = """
    UPDATE carillon.fanout_ranges r SET sent_at = now()
    FROM unnest($1::uuid[], $2::integer[]) AS w(event_id, n), carillon.events e
    WHERE r.event_id = w.event_id AND r.n = w.n AND r.published_at IS NULL
      AND e.id = r.event_id AND e.status = 'dispatching' AND e.plan_error IS NULL
    RETURNING r.event_id, r.n, e.lane
"""


class GivenUpHandler:
    """The handler of `carillon.dispatch.dead`. Everything is acked: rows and poison are what is kept."""

    def __init__(self, pool: Pool, publisher: Publishing) -> None:
        self._pool = pool
        self._publisher = publisher
        self._poison = PoisonStore(pool)
        self._moved = MovedLetters(pool)

    async def __call__(self, batch: list[Received]) -> list[Settlement]:
        """Owe events and ranges again, or mark them; keep what cannot go on as poison."""
        try:
            await self._handle(batch)
        except Exception as error:
            if is_transient(error) or len(batch) > 1:
                raise
            log.exception("given up message cannot be handled")
            await self._keep(batch, f"{type(error).__name__}: {error}")
        return [Ack() for _ in batch]

    async def _handle(self, batch: Sequence[Received]) -> None:
        moved = [one.message for one in batch if isinstance(one.message, DeadDelivery)]
        await self._moved.note(DISPATCH_DEAD_QUEUE, moved)
        planning = [one for one in batch if isinstance(one.message, EventAccepted | RangePlanned)]
        again = await self._of_broker(planning)
        over = await self._owe(again)
        await self._send_ranges([one for one in planning if _event_of(one) in again - over])
        marked = [one for one in planning if _event_of(one) not in again - over]
        await self._keep(marked, "planning failed; its event says why")
        strangers = [
            one for one in batch if one not in planning and not isinstance(one.message, DeadDelivery)
        ]
        await self._keep(strangers, "does not belong to planning")

    async def _of_broker(self, planning: Sequence[Received]) -> set[UUID]:
        """Return the events that planning has not refused itself."""
        refused = {_event_of(one) for one in planning if _was_rejected(one)}
        again = {_event_of(one) for one in planning} - refused
        if refused:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                rows = await connection.fetch(_UNMARKED, list(refused), min(refused), max(refused))
            again |= {row["id"] for row in rows}
        return again

    async def _owe(self, events: set[UUID]) -> set[UUID]:
        """Let the relay bring these again; return those that are given up now."""
        if not events:
            return set()
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_OWE, list(events), min(events), max(events), MOST_DEATHS, WHY)
        over = {row["event_id"] for row in rows}
        log.error("events given up by the broker", owed=len(events) - len(over), over=[str(e) for e in over])
        return over

    async def _send_ranges(self, planning: Sequence[Received]) -> None:
        """Send ranges again; what the broker does not take is found as stalled."""
        keys = [
            RangeKey(one.message.event_id, one.message.n)
            for one in planning
            if isinstance(one.message, RangePlanned)
        ]
        if not keys:
            return
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_RANGES, [key.event_id for key in keys], [key.n for key in keys])
        await self._publisher.publish_many(
            [range_message(RangeKey(row["event_id"], row["n"]), Lane(row["lane"])) for row in rows]
        )

    async def _keep(self, batch: Sequence[Received], why: str) -> None:
        for one in batch:
            await self._poison.keep(DISPATCH_DEAD_QUEUE, one.incoming, why)


def _event_of(received: Received) -> UUID:
    message = received.message
    if not isinstance(message, EventAccepted | RangePlanned):
        raise TypeError(f"{message.TYPE} is no planning")
    return message.event_id


def _was_rejected(received: Received) -> bool:
    """Tell a message that its handler refused from one that the broker gave up, or a person moved here."""
    return str(received.incoming.headers.get("x-first-death-reason", "")) == "rejected"
