"""Compares the dead queues with the dead letters, when an operator asks for it, and mends what differs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.contracts.messages import DeadDelivery
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.dead_copies import Copy, copy_of_row
from carillon_dispatcher.sweepers.dead_queues import DeadQueue

log = structlog.get_logger(__name__)

_PAGE = 1000
_NIL = UUID(int=0)
_LETTERS = """
    SELECT delivery_id, attempt, tenant_id, copy_seen_at FROM carillon.dead_letters
    WHERE delivery_id = ANY ($1::uuid[]) AND channel = $2::text::carillon.channel
"""
_SEEN = (
    "UPDATE carillon.dead_letters SET copy_seen_at = clock_timestamp() WHERE delivery_id = ANY ($1::uuid[])"
)
_UNSEEN = """
    SELECT l.delivery_id, l.attempt, l.reason, l.tenant_id, l.channel, d.event_id, d.lane, t.slug AS tenant
    FROM carillon.dead_letters l
    JOIN carillon.deliveries d ON d.id = l.delivery_id
    JOIN carillon.tenants t ON t.id = l.tenant_id
    WHERE l.channel = $1::text::carillon.channel AND l.dead_at < $2 AND l.delivery_id > $3
      AND (l.copy_seen_at IS NULL OR l.copy_seen_at < $2)
    ORDER BY l.delivery_id LIMIT $4
"""


class UnpublishedError(Exception):
    """The broker did not take the copies that were missing; the reconciliation begins again later."""


@dataclass(slots=True)
class Pass:
    """One comparison of one queue. Only what is of this tenant is counted; what is mended, is for all.

    `agreed`: a dead letter and its copy. `stale`: a copy without its dead letter, removed. `duplicate`: a
    second copy, removed. `missing`: a dead letter without its copy, which is published.
    """

    tenant: str
    dry_run: bool
    begun_at: datetime
    counts: Counter[str] = field(default_factory=lambda: Counter(agreed=0, stale=0, duplicate=0, missing=0))
    seen: set[UUID] = field(default_factory=set)  # of the batch that is being looked at

    def judge(self, message: DeadDelivery, letter: asyncpg.Record | None) -> str:
        """Return what a copy is, and count it."""
        verdict = self._verdict(message, letter)
        if message.tenant == self.tenant:
            self.counts[verdict] += 1
        return verdict

    def _verdict(self, message: DeadDelivery, letter: asyncpg.Record | None) -> str:
        if letter is None or letter["attempt"] != message.attempt:
            return "stale"
        before = letter["copy_seen_at"]
        if message.delivery_id in self.seen or (before is not None and before >= self.begun_at):
            return "duplicate"
        self.seen.add(message.delivery_id)
        return "agreed"


class Reconciler:
    """Does one pass through one dead queue."""

    def __init__(self, queue: DeadQueue, pool: Pool, publisher: Publishing) -> None:
        self._queue = queue
        self._pool = pool
        self._publisher = publisher

    async def reconcile(self, tenant: str, *, dry_run: bool) -> dict[str, int] | None:
        """Compare, mend unless it is a dry run, and return the numbers. None: another process is at it.

        Raises `UnpublishedError`, and what the broker and asyncpg raise. Safe to repeat.
        """
        async with self._queue.alone() as is_ours:
            if not is_ours:
                return None
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                begun_at = await connection.fetchval("SELECT clock_timestamp()")
            one = Pass(tenant, dry_run, begun_at)
            await self._queue.walk(lambda copies: self._look(one, copies))
            await self._make_up(one)
        log.info("dead queue reconciled", channel=self._queue.channel, dry_run=dry_run, **one.counts)
        return dict(one.counts)

    async def _look(self, one: Pass, copies: Sequence[Copy]) -> set[int]:
        """Judge a batch of copies, and return the tags of those to remove."""
        messages = [copy.message for copy in copies if isinstance(copy.message, DeadDelivery)]
        letters = await self._letters([message.delivery_id for message in messages])
        one.seen.clear()
        over = {
            copy.incoming.delivery_tag
            for copy in copies
            if isinstance(copy.message, DeadDelivery)
            and one.judge(copy.message, letters.get(copy.message.delivery_id)) != "agreed"
        }
        if one.seen:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                await connection.execute(_SEEN, list(one.seen))
        if one.dry_run:
            return set()
        return over | await self._queue.take_up(copies, await self._queue.states(copies))

    async def _letters(self, ids: Sequence[UUID]) -> dict[UUID, asyncpg.Record]:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_LETTERS, ids, self._queue.channel.value)
        return {row["delivery_id"]: row for row in rows}

    async def _make_up(self, one: Pass) -> None:
        """Publish the copies that no walk has met, a page at a time."""
        position = _NIL
        while rows := await self._unseen(one, position):
            position = rows[-1]["delivery_id"]
            one.counts["missing"] += sum(row["tenant"] == one.tenant for row in rows)
            if one.dry_run:
                continue
            results = await self._publisher.publish_many([copy_of_row(row) for row in rows])
            if any(error is not None for error in results):
                raise UnpublishedError(f"{len(rows)} copies for {self._queue.channel}")
            metrics.OPERATED.labels("reconcile", "done").inc(len(rows))

    async def _unseen(self, one: Pass, after: UUID) -> list[asyncpg.Record]:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(
                _UNSEEN, self._queue.channel.value, one.begun_at, after, _PAGE
            )
        return rows
