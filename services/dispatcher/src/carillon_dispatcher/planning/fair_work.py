"""Hands planned work to the broker, and a tenant's surplus by a lower lane."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import structlog
from carillon_shared.domain.lanes import Lane
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import work_queue

from carillon_dispatcher.planning.chunks import Work, chunks_of, pieces_of, work_of
from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.planning.rows import PlannedRows
from carillon_dispatcher.planning.shares import QueueShares, Shares
from carillon_dispatcher.planning.store import PlanStore

LOWER: Mapping[Lane, Lane] = {Lane.CRITICAL: Lane.NORMAL, Lane.NORMAL: Lane.BULK}
"""Where a tenant's surplus goes. Nothing is below bulk."""

log = structlog.get_logger(__name__)


class FairWork:
    """Publishes work so that no tenant has more than its share waiting in a queue.

    What is beyond that goes by the next lower lane, where there is one and other tenants exist. The workers
    have turns of the tenants for what they hold, but a queue keeps its order: without this, a tenant's next
    delivery would wait behind everything that another has left there.
    """

    def __init__(self, publisher: Publishing, store: PlanStore, shares: Shares) -> None:
        self._publisher = publisher
        self._store = store
        self._shares = shares

    async def publish(self, rows: Sequence[PlannedRows]) -> set[UUID]:
        """Publish the queued ones among these rows; return the events of which not all was confirmed."""
        waiting = pieces_of(work_of(one) for one in rows if one.ids)
        if not waiting or not await self._store.has_tenants():
            return await self._send(waiting)
        await self._look(waiting, only_long=True)
        failed: set[UUID] = set()
        while waiting:
            fitting, waiting = self._split(waiting)
            failed |= await self._send(fitting)
            surplus, waiting = await self._judge(waiting)
            failed |= await self._send(await self._lower(surplus))
        return failed

    def _split(self, works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
        """Return what may go now, and what may perhaps not."""
        fitting: list[Work] = []
        waiting: list[Work] = []
        for work in works:
            fits = work.lane not in LOWER or self._share(work).take(work.tenant, len(work.ids))
            (fitting if fits else waiting).append(work)
        return fitting, waiting

    async def _judge(self, works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
        """Look into the queues; return what is surplus, and what may go in the next round after all."""
        await self._look(works)
        surplus = [work for work in works if self._share(work).is_over(work.tenant)]
        return surplus, [work for work in works if not self._share(work).is_over(work.tenant)]

    async def _look(self, works: Sequence[Work], *, only_long: bool = False) -> None:
        for share in {id(share): share for share in map(self._share, works)}.values():
            if share.wants_look or not only_long:
                await share.look()

    async def _lower(self, works: Sequence[Work]) -> list[Work]:
        if not works:
            return []
        lowered = [replace(work, lane=LOWER[work.lane]) for work in works]
        for lane in {work.lane for work in lowered}:
            ids = [one for work in lowered if work.lane is lane for one in work.ids]
            await self._store.change_lane(ids, lane)
        for work in lowered:
            metrics.PLANNED_SURPLUS.labels(work.channel, work.lane).inc(len(work.ids))
        log.info(
            "surplus goes by a lower lane",
            tenants=sorted({work.tenant for work in lowered}),
            deliveries=sum(len(work.ids) for work in lowered),
        )
        return lowered

    async def _send(self, works: Sequence[Work]) -> set[UUID]:
        if not works:
            return set()
        results = await self._publisher.publish_many(chunks_of(works))
        failed = {
            work.event_id: error for work, error in zip(works, results, strict=True) if error is not None
        }
        if failed:
            log.warning("work not published", events=len(failed), reason=str(next(iter(failed.values()))))
        return set(failed)

    def _share(self, work: Work) -> QueueShares:
        return self._shares.of(work_queue(work.channel, work.lane))
