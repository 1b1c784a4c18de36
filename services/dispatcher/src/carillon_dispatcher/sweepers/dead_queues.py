"""Keeps the dead queues in step with the database, which decides."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.broker import Incoming, Outgoing
from carillon_shared.clock import Clock
from carillon_shared.contracts.messages import DeadDelivery, WorkChunk
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.chunks import Work, chunks_of
from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.dead_copies import Copy, copy_of, deliveries_of, read_copy
from carillon_dispatcher.sweepers.walking import QueueWalk

log = structlog.get_logger(__name__)

_WHY_POISON = "its worker ended again and again while it had this delivery in hand"

_STATES = """
    SELECT d.id, d.status::text, d.attempt, e.type AS event_type
    FROM carillon.deliveries d LEFT JOIN carillon.events e ON e.id = d.event_id
    WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2 AND $3
"""
_LOCK = "SELECT pg_try_advisory_lock(hashtext('carillon.dead'), hashtext($1))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('carillon.dead'), hashtext($1))"
_BURY = "SELECT id FROM carillon.bury($1, $2, $3, $4, $5, $6, $7, $8, $9)"


States = dict[UUID, asyncpg.Record]
LookAtCopies = Callable[[Sequence[Copy]], Awaitable[set[int]]]


class DeadQueue:
    """The dead queue of one channel.

    Copies of deliveries that are no longer dead are acked. Work that the broker gave up, because its workers
    ended with it again and again, is sent once more with each delivery alone; a delivery that fails alone is
    dead, `poison`. Everything else waits for an operator and goes back to the queue.
    """

    def __init__(self, walk: QueueWalk, pool: Pool, publisher: Publishing, *, channel: Channel) -> None:
        self.channel = channel
        self._walk = walk
        self._pool = pool
        self._publisher = publisher

    async def tidy(self) -> int:
        """Look at each message once; return how many were removed. Leaves it to another process at it."""
        async with self.alone() as is_ours:
            if not is_ours:
                return 0
            removed, kept = await self.walk(self._over)
        if removed:
            log.info("dead queue tidied", channel=self.channel, removed=removed, kept=kept)
        return removed

    async def walk(self, look: LookAtCopies) -> tuple[int, int]:
        """Show each copy to `look`, which returns the tags of what is over; return how many went and stay."""
        removed = 0

        async def look_at(batch: list[Incoming]) -> set[int]:
            nonlocal removed
            over = await look([read_copy(incoming) for incoming in batch])
            removed += len(over)
            return over

        try:
            kept = await self._walk.walk(look_at)
        finally:
            metrics.DEAD_COPIES_REMOVED.labels(self.channel).inc(removed)
        return removed, kept

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """Keep other dispatchers out of this queue meanwhile: what one holds in hand, another cannot see.

        Gives whether that succeeded.
        """
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            try:
                is_ours: bool = await connection.fetchval(_LOCK, self.channel.value)
                yield is_ours
                if is_ours:
                    await connection.execute(_UNLOCK, self.channel.value)
            except BaseException:
                connection.terminate()  # the pool would keep the session, and with it the lock
                raise

    async def _over(self, copies: Sequence[Copy]) -> set[int]:
        states = await self.states(copies)
        over = {copy.incoming.delivery_tag for copy in copies if is_stale(copy, states)}
        return over | await self.take_up(copies, states)

    async def states(self, copies: Sequence[Copy]) -> States:
        """Return the rows that these copies are about."""
        ids = {one for copy in copies for one in deliveries_of(copy.message)}
        if not ids:
            return {}
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_STATES, list(ids), min(ids), max(ids))
        return {row["id"]: row for row in rows}

    async def take_up(self, copies: Sequence[Copy], states: States) -> set[int]:
        """Go on with work that the broker gave up; return the tags of what is taken care of."""
        todo: dict[int, list[Outgoing]] = defaultdict(list)
        for copy in copies:
            chunk = copy.message
            if not isinstance(chunk, WorkChunk):
                continue
            trace = copy.incoming.traceparent
            if chunk.isolated:
                todo[copy.incoming.delivery_tag] += await self._bury(chunk, states, trace)
                continue
            waiting = [one for one in chunk.delivery_ids if _waits_for(states.get(one), chunk.attempt)]
            todo[copy.incoming.delivery_tag] += chunks_of([_alone(chunk, waiting, trace)])
        outgoings = [outgoing for some in todo.values() for outgoing in some]
        results = iter(await self._publisher.publish_many(outgoings) if outgoings else [])
        failed = {tag for tag, some in todo.items() for _ in some if next(results) is not None}
        return todo.keys() - failed

    async def _bury(self, chunk: WorkChunk, states: States, trace: str | None) -> list[Outgoing]:
        """Write down that this one delivery is poison; return its copy for the queue.

        The copy is also made for one that was buried by a pass which ended before it could publish it.
        """
        (delivery,) = chunk.delivery_ids
        row = states.get(delivery)
        if row is not None and row["status"] == "dead" and row["attempt"] == chunk.attempt:
            return [_dead_letter(chunk, delivery, trace)]
        if row is None or not _waits_for(row, chunk.attempt):
            return []
        event_type = row["event_type"] or ""
        columns = ([chunk.attempt], [Reason.POISON], ["worker_lost"], [_WHY_POISON], [event_type])
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_BURY, [delivery], *columns, self.channel.value, delivery, delivery)
        if not rows:
            return []
        metrics.DEAD_LETTERS.labels(self.channel, Reason.POISON).inc()
        log.error("poisonous delivery", delivery_id=str(delivery), channel=self.channel)
        return [_dead_letter(chunk, delivery, trace)]


class DeadQueues:
    """All dead queues, tidied one after the other, every so often and whenever somebody asks for it."""

    def __init__(self, queues: Sequence[DeadQueue], *, interval: float, clock: Clock) -> None:
        self._queues = queues
        self._interval = interval
        self._clock = clock
        self._next = clock.monotonic() + interval

    def ask(self) -> None:
        """Have them tidied soon."""
        self._next = self._clock.monotonic()

    async def sweep(self) -> int:
        """Tidy them if it is time. Returns 0: a pass leaves nothing to do at once."""
        now = self._clock.monotonic()
        if now < self._next:
            return 0
        self._next = now + self._interval
        for queue in self._queues:
            await queue.tidy()
        return 0


def is_stale(copy: Copy, states: States) -> bool:
    """Tell whether this is a copy of a delivery that is not dead with that attempt."""
    if not isinstance(copy.message, DeadDelivery):
        return False
    row = states.get(copy.message.delivery_id)
    return row is None or row["status"] != "dead" or row["attempt"] != copy.message.attempt


def _waits_for(row: asyncpg.Record | None, attempt: int) -> bool:
    return row is not None and row["status"] in {"queued", "retrying"} and row["attempt"] < attempt


def _alone(chunk: WorkChunk, ids: Sequence[UUID], trace: str | None) -> Work:
    return Work(
        event_id=chunk.event_id,
        tenant=chunk.tenant,
        traceparent=trace,
        channel=chunk.channel,
        lane=chunk.lane,
        ids=ids,
        attempt=chunk.attempt,
        isolated=True,
    )


def _dead_letter(chunk: WorkChunk, delivery: UUID, trace: str | None) -> Outgoing:
    message = DeadDelivery(
        event_id=chunk.event_id,
        tenant=chunk.tenant,
        channel=chunk.channel,
        lane=chunk.lane,
        delivery_id=delivery,
        attempt=chunk.attempt,
        reason=Reason.POISON,
    )
    return copy_of(message, traceparent=trace)
