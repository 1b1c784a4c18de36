"""Hands committed events to the broker at once, so that the usual way has no polling in it.

It owes nobody anything: what it leaves undone, because the broker is away or it is behind, the relay
publishes when `owed_at` has come.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from carillon_shared.broker import Outgoing
from carillon_shared.clock import Clock
from carillon_shared.contracts.messages import EventAccepted
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import DATABASE_ERRORS
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.topology.carillon import EVENTS, event_routing_key

from carillon_api.intake.publishing import Publishes
from carillon_api.intake.rows import IntakeRow
from carillon_api.intake.store import mark_published

MAX_WAITING = 10_000
_BATCH = 500
# Owed ten seconds after acceptance; what has waited this long here is soon the relay's.
_TOO_LATE_SECONDS = 6.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    event_id: UUID
    row: IntakeRow
    since: float


class FastPath:
    """Publishes and marks in batches, each as soon as the one before is done."""

    def __init__(
        self, publisher: Publishes, pool: Pool, *, clock: Clock, max_waiting: int = MAX_WAITING
    ) -> None:
        self._publisher = publisher
        self._pool = pool
        self._clock = clock
        self._max_waiting = max_waiting
        self._waiting: deque[_Waiting] = deque()
        self._published: list[UUID] = []
        self._open = 0  # offered, and neither marked nor given up
        self._idle = asyncio.Event()
        self._idle.set()
        self._to_publish = asyncio.Event()
        self._to_mark = asyncio.Event()

    def offer(self, event_id: UUID, row: IntakeRow) -> None:
        """Take over one committed event. Never waits; declines silently when there is no use."""
        if self._publisher.connected and len(self._waiting) < self._max_waiting:
            self._waiting.append(_Waiting(event_id, row, self._clock.monotonic()))
            self._open += 1
            self._idle.clear()
            self._to_publish.set()

    async def drained(self) -> None:
        """Return when everything offered so far has been published and marked, or given up."""
        await self._idle.wait()

    async def run(self) -> None:
        """Publish and mark until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_all(), name="fast-path-publish")
            tasks.create_task(self._mark_all(), name="fast-path-mark")

    async def _publish_all(self) -> None:
        while True:
            await self._to_publish.wait()
            self._to_publish.clear()
            while batch := self._take():
                await self._publish(batch)

    async def _publish(self, batch: Sequence[_Waiting]) -> None:
        try:
            results = await self._publisher.publish_many([_outgoing(waiting) for waiting in batch])
        except Exception:
            log.exception("fast path failed", events=len(batch))
            self._close(len(batch))
            return
        crash_point(CrashPoint.API_AFTER_PUBLISH)
        confirmed = [waiting.event_id for waiting, error in zip(batch, results, strict=True) if error is None]
        self._close(len(batch) - len(confirmed))
        self._published += confirmed
        self._to_mark.set()

    async def _mark_all(self) -> None:
        while True:
            await self._to_mark.wait()
            self._to_mark.clear()
            published, self._published = self._published, []
            if published:
                await self._mark(published)
                self._close(len(published))

    async def _mark(self, published: Sequence[UUID]) -> None:
        try:
            await mark_published(self._pool, published)
        except DATABASE_ERRORS as error:
            # The relay publishes these a second time; whoever takes them sees that they are planned.
            log.warning("published events not marked", events=len(published), error=type(error).__name__)
        except Exception:
            log.exception("marking failed", events=len(published))

    def _take(self) -> list[_Waiting]:
        oldest = self._clock.monotonic() - _TOO_LATE_SECONDS
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < _BATCH:
            waiting = self._waiting.popleft()
            if waiting.since >= oldest:
                batch.append(waiting)
            else:
                self._close(1)
        return batch

    def _close(self, count: int) -> None:
        self._open -= count
        if not self._open:
            self._idle.set()


def _outgoing(waiting: _Waiting) -> Outgoing:
    row, lane = waiting.row, Lane(waiting.row.lane)
    message = EventAccepted(event_id=waiting.event_id, tenant=row.tenant, event_type=row.type, lane=lane)
    return Outgoing(
        exchange=EVENTS.name,
        routing_key=event_routing_key(lane=lane, tenant=row.tenant, event_type=row.type),
        message=message,
        message_id=str(waiting.event_id),
        traceparent=row.traceparent,
    )
