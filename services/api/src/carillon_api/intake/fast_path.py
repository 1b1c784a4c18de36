"""Hands committed events to the broker at once, so that the usual way has no polling in it.

It owes nobody anything: what it leaves undone, because the broker is away or it is behind, the relay
publishes when `owed_at` has come. A lane that has enough in it gets no more: events wait here, and tenants
take turns, so that one tenant's thousands do not stand before another's next one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from carillon_shared.broker import Outgoing
from carillon_shared.broker.window import Room
from carillon_shared.clock import Clock
from carillon_shared.contracts.messages import EventAccepted
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import DATABASE_ERRORS
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.topology.carillon import EVENTS, event_routing_key
from carillon_shared.turns import Turns

from carillon_api.intake.publishing import Publishes
from carillon_api.intake.rows import IntakeRow
from carillon_api.intake.store import mark_published

MAX_WAITING = 30_000
_BATCH = 500
# Owed ten seconds after acceptance; what has waited this long here is soon the relay's.
_TOO_LATE_SECONDS = 6.0
_LOOK_SECONDS = 0.02  # between looks for room in a lane

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is to be published of an event; thousands of these may wait."""

    event_id: UUID
    tenant: str
    type: str
    lane: Lane
    traceparent: str | None
    since: float


class FastPath:
    """Publishes and marks in batches, each as soon as the one before is done."""

    def __init__(
        self,
        publisher: Publishes,
        pool: Pool,
        *,
        clock: Clock,
        windows: Mapping[Lane, Room],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._publisher = publisher
        self._pool = pool
        self._clock = clock
        self._max_waiting = max_waiting
        self._windows = windows
        self._waiting: dict[Lane, Turns[_Waiting]] = {lane: Turns() for lane in Lane}
        self._leaving = False
        self._published: list[UUID] = []
        self._open = 0  # offered, and neither marked nor given up
        self._idle = asyncio.Event()
        self._idle.set()
        self._to_publish = asyncio.Event()
        self._to_mark = asyncio.Event()

    def offer(self, event_id: UUID, row: IntakeRow) -> None:
        """Take over one committed event. Never waits; declines silently when there is no use.

        A tenant may wait with as many as there is room left for others, so there always is some.
        """
        lane = Lane(row.lane)
        line, room = self._waiting[lane], self._max_waiting - self._all_waiting
        if self._publisher.connected and line.waiting(row.tenant) < room:
            since = self._clock.monotonic()
            line.add(row.tenant, (_Waiting(event_id, row.tenant, row.type, lane, row.traceparent, since),))
            self._open += 1
            self._idle.clear()
            self._to_publish.set()

    @property
    def _all_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def drained(self) -> None:
        """Return when everything offered so far has been published and marked, or given up.

        For the end: what finds no room in its lane from now on is given up.
        """
        self._leaving = True
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
            while self._all_waiting:
                if batch := await self._take():
                    await self._publish(batch)
                elif self._all_waiting:
                    await asyncio.sleep(_LOOK_SECONDS)

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

    async def _take(self) -> list[_Waiting]:
        """Take the most urgent that have room in their lanes. Give up what has waited too long."""
        oldest = self._clock.monotonic() - _TOO_LATE_SECONDS
        batch: list[_Waiting] = []
        for lane, waiting in self._waiting.items():
            self._close(waiting.drop(lambda one: one.since < oldest))
            room = await self._windows[lane].room() if waiting else 0
            if not room and self._leaving:
                self._close(len(waiting))
                waiting.clear()
            taken = waiting.take(min(room, len(waiting), _BATCH - len(batch)))
            self._windows[lane].fill(len(taken))
            batch += taken
        return batch

    def _close(self, count: int) -> None:
        """So many need nothing more from here."""
        self._open -= count
        if not self._open:
            self._idle.set()


def _outgoing(one: _Waiting) -> Outgoing:
    return Outgoing(
        exchange=EVENTS.name,
        routing_key=event_routing_key(lane=one.lane, tenant=one.tenant, event_type=one.type),
        message=EventAccepted(event_id=one.event_id, tenant=one.tenant, event_type=one.type, lane=one.lane),
        message_id=str(one.event_id),
        traceparent=one.traceparent,
    )
