"""Takes accepted events, many at a time: plans the small ones, cuts the large ones into ranges."""

from collections.abc import Collection, Sequence
from uuid import UUID

import structlog
from carillon_shared.consumer import Ack, DeadLetter, Received, Settlement
from carillon_shared.contracts.messages import EventAccepted
from carillon_shared.db.transient import is_transient
from carillon_shared.lifecycle import CrashPoint, crash_point

from carillon_dispatcher.planning.fair_work import FairWork
from carillon_dispatcher.planning.publishing import Publishing, count
from carillon_dispatcher.planning.ranges import send_ranges
from carillon_dispatcher.planning.rows import READY, Span, Verdict
from carillon_dispatcher.planning.store import PlanStore

log = structlog.get_logger(__name__)


class DispatchHandler:
    """The handler of `carillon.dispatch.<lane>`."""

    def __init__(self, store: PlanStore, publisher: Publishing, work: FairWork) -> None:
        self._store = store
        self._publisher = publisher
        self._work = work

    async def __call__(self, batch: list[Received]) -> list[Settlement]:
        """Plan, publish, and settle each message.

        A passing failure hands the events to the relay, for later. Anything else is raised for a batch, so
        that its messages are tried one by one, and for a single message ends in the dead letters.
        """
        ids = {received.message.event_id for received in batch if isinstance(received.message, EventAccepted)}
        refused = await self._dispatch_safely(ids) if ids else None
        return [_settlement(received, refused) for received in batch]

    async def _dispatch_safely(self, ids: Collection[UUID]) -> str | None:
        try:
            await self._dispatch(ids)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if is_transient(error):
                log.warning("planning postponed", events=len(ids), reason=reason)
                await self._store.postpone(ids, reason)
                return None
            if len(ids) > 1:
                raise
            (event_id,) = ids
            log.exception("event cannot be planned", event_id=event_id)
            await self._store.fail(event_id, reason)
            return reason
        return None

    async def _dispatch(self, ids: Collection[UUID]) -> None:
        verdicts = await self._store.plan_events(ids)
        crash_point(CrashPoint.DISPATCHER_AFTER_PLAN)
        ready = [event for event, verdict in verdicts.items() if verdict in READY]
        if ready:
            await self._publish(ready, verdicts)
        for event, verdict in verdicts.items():
            if verdict in {Verdict.LARGE, Verdict.RANGES}:
                await self._fan_out(event)

    async def _publish(self, ready: Sequence[UUID], verdicts: dict[UUID, Verdict]) -> None:
        rows = await self._store.planned_rows([Span(event) for event in ready])
        count([one for one in rows if verdicts[one.event_id] is Verdict.PLANNED])
        failed = await self._work.publish(rows)
        crash_point(CrashPoint.DISPATCHER_AFTER_PUBLISH)
        published = [event for event in ready if event not in failed]
        if published:
            await self._store.mark_events_published(published)
        if failed:
            await self._store.postpone(failed, "the broker did not confirm the work")
        log.info(
            "events dispatched",
            events=len(published),
            failed=len(failed),
            deliveries=sum(one.total for one in rows),
            queued=sum(len(one.ids) for one in rows),
        )

    async def _fan_out(self, event: UUID) -> None:
        await self._store.cut(event)
        if not await send_ranges(self._store, self._publisher, event):
            await self._store.finish_fanout([event])


def _settlement(received: Received, refused: str | None) -> Settlement:
    if not isinstance(received.message, EventAccepted):
        return DeadLetter(f"{received.message.TYPE} does not belong here")
    return DeadLetter(refused) if refused is not None else Ack()
