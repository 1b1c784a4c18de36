"""Keeps the dead queues in step with the database, which decides."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.broker import Incoming, Outgoing
from carillon_shared.clock import Clock
from carillon_shared.consumer.settlement import Ack, Requeue, Settlement
from carillon_shared.consumer.source import MessageSource
from carillon_shared.contracts.codec import UndecodableMessageError, decode
from carillon_shared.contracts.messages import DeadDelivery, Message, WorkChunk
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import DEAD, work_routing_key

from carillon_dispatcher.planning.chunks import Work, chunks_of
from carillon_dispatcher.planning.publishing import Publishing

log = structlog.get_logger(__name__)

PASS_LIMIT = 20_000
"""Most messages a pass keeps in hand. As many are looked at in one pass, and each once."""

_BATCH = 500
# All that a queue has is here when nothing more has come for so long.
_QUIET_SECONDS = 1.0
_WHY_POISON = "its worker ended again and again while it had this delivery in hand"

_STATES = """
    SELECT d.id, d.status::text, d.attempt, e.type AS event_type
    FROM carillon.deliveries d LEFT JOIN carillon.events e ON e.id = d.event_id
    WHERE d.id = ANY ($1::uuid[]) AND d.id BETWEEN $2 AND $3
"""
_BURY = "SELECT id FROM carillon.bury($1, $2, $3, $4, $5, $6, $7, $8, $9)"


@dataclass(frozen=True, slots=True)
class Copy:
    """A message of a dead queue and what it says; None: nobody can read it."""

    incoming: Incoming
    message: Message | None


States = dict[UUID, asyncpg.Record]


class DeadQueue:
    """The dead queue of one channel.

    Copies of deliveries that are no longer dead are acked. Work that the broker gave up, because its workers
    ended with it again and again, is sent once more with each delivery alone; a delivery that fails alone is
    dead, `poison`. Everything else waits for an operator and goes back to the queue.
    """

    def __init__(self, source: MessageSource, pool: Pool, publisher: Publishing, *, channel: Channel) -> None:
        self._source = source
        self._pool = pool
        self._publisher = publisher
        self._channel = channel

    async def tidy(self) -> int:
        """Look at each message once; return how many were removed.

        Those that stay are held back until the end, so that the pass does not meet them again.
        """
        kept: list[Incoming] = []
        removed = 0
        await self._source.resume()
        try:
            while len(kept) < PASS_LIMIT:
                batch = await self._source.get_batch(_BATCH, wait=_QUIET_SECONDS)
                if not batch:
                    break
                done = await self._settle(batch)
                removed += len(done)
                kept += [one for one in batch if one.delivery_tag not in done]
        finally:
            await self._source.pause()
            await self._give_back(kept)
        if removed:
            metrics.DEAD_COPIES_REMOVED.labels(self._channel).inc(removed)
            log.info("dead queue tidied", channel=self._channel, removed=removed, kept=len(kept))
        return removed

    async def _settle(self, batch: Sequence[Incoming]) -> set[int]:
        """Ack what is over, and return its tags."""
        done = await self._over([_read(incoming) for incoming in batch])
        settled: list[tuple[Incoming, Settlement]] = [
            (incoming, Ack()) for incoming in batch if incoming.delivery_tag in done
        ]
        await self._source.settle_many(settled)
        return done

    async def _give_back(self, kept: list[Incoming]) -> None:
        """Return these, and what has arrived since and was not looked at."""
        while late := await self._source.get_batch(_BATCH, wait=0):
            kept += late
        await self._source.settle_many([(incoming, Requeue()) for incoming in kept])

    async def _over(self, copies: Sequence[Copy]) -> set[int]:
        states = await self._states(copies)
        over = {copy.incoming.delivery_tag for copy in copies if _is_stale(copy, states)}
        given_up = [copy for copy in copies if isinstance(copy.message, WorkChunk)]
        return over | await self._take_up(given_up, states)

    async def _states(self, copies: Sequence[Copy]) -> States:
        ids = {one for copy in copies for one in _deliveries_of(copy.message)}
        if not ids:
            return {}
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_STATES, list(ids), min(ids), max(ids))
        return {row["id"]: row for row in rows}

    async def _take_up(self, copies: Sequence[Copy], states: States) -> set[int]:
        """Go on with work that the broker gave up; return the tags of what is taken care of."""
        todo: dict[int, list[Outgoing]] = defaultdict(list)
        for copy in copies:
            chunk = copy.message
            assert isinstance(chunk, WorkChunk)  # noqa: S101 - what the caller selected
            trace = copy.incoming.traceparent
            if chunk.isolated:
                todo[copy.incoming.delivery_tag] += await self._bury(chunk, states, trace)
                continue
            waiting = [one for one in chunk.delivery_ids if _waits_for(states.get(one), chunk.attempt)]
            todo[copy.incoming.delivery_tag] += chunks_of([_alone(chunk, waiting, trace)])
        outgoings = [outgoing for some in todo.values() for outgoing in some]
        results = iter(await self._publisher.publish_many(outgoings) if outgoings else [])
        failed = {tag for tag, some in todo.items() for _ in some if next(results) is not None}
        return {copy.incoming.delivery_tag for copy in copies} - failed

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
            rows = await connection.fetch(
                _BURY, [delivery], *columns, self._channel.value, delivery, delivery
            )
        if not rows:
            return []
        metrics.DEAD_LETTERS.labels(self._channel, Reason.POISON).inc()
        log.error("poisonous delivery", delivery_id=str(delivery), channel=self._channel)
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


def _read(incoming: Incoming) -> Copy:
    try:
        return Copy(incoming, decode(incoming.type, incoming.body))
    except UndecodableMessageError:
        return Copy(incoming, None)


def _deliveries_of(message: Message | None) -> Sequence[UUID]:
    match message:
        case DeadDelivery():
            return [message.delivery_id]
        case WorkChunk():
            return message.delivery_ids
        case _:
            return []


def _is_stale(copy: Copy, states: States) -> bool:
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
    key = work_routing_key(chunk.channel, chunk.lane)
    return Outgoing(DEAD.name, key, message, f"{delivery}:{chunk.attempt}:dead", traceparent=trace)
