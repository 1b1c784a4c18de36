"""Takes ranges of large audiences: one message, one transaction, then the range's work messages."""

import structlog
from carillon_shared.consumer import Ack, DeadLetter, Received, Settlement
from carillon_shared.contracts.messages import RangePlanned
from carillon_shared.db.transient import is_transient
from carillon_shared.lifecycle import CrashPoint, crash_point

from carillon_dispatcher.planning.fair_work import FairWork
from carillon_dispatcher.planning.publishing import Publishing, count
from carillon_dispatcher.planning.ranges import send_ranges
from carillon_dispatcher.planning.rows import RangeKey, Span, Verdict
from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.sweepers.expiry import Expiry

log = structlog.get_logger(__name__)


class FanoutHandler:
    """The handler of `carillon.fanout.<lane>`."""

    def __init__(self, store: PlanStore, publisher: Publishing, work: FairWork, expiry: Expiry) -> None:
        self._store = store
        self._publisher = publisher
        self._work = work
        self._expiry = expiry

    async def __call__(self, batch: list[Received]) -> list[Settlement]:
        """Plan and publish each range, and send the next. One that is over already is only acked.

        Failures are raised: passing ones are tried again here, others for each message alone, where they end
        in the dead letters.
        """
        published: list[RangeKey] = []
        settlements = [await self._handle(received, published, alone=len(batch) == 1) for received in batch]
        if published:
            await self._store.mark_ranges_published(published)
        for event in {one.message.event_id for one in batch if isinstance(one.message, RangePlanned)}:
            await send_ranges(self._store, self._publisher, event)
        return settlements

    async def _handle(self, received: Received, published: list[RangeKey], *, alone: bool) -> Settlement:
        message = received.message
        if not isinstance(message, RangePlanned):
            return DeadLetter(f"{message.TYPE} does not belong here")
        key = RangeKey(message.event_id, message.n)
        try:
            if await self._plan(key):
                published.append(key)
        except Exception as error:
            if is_transient(error) or not alone:
                raise
            reason = f"{type(error).__name__}: {error}"
            log.exception("range cannot be planned", event_id=key.event_id, range=key.n)
            await self._store.fail(key.event_id, reason)
            return DeadLetter(reason)
        return Ack()

    async def _plan(self, key: RangeKey) -> bool:
        """Return whether the range's messages are with the broker now."""
        verdict, span = await self._store.plan_range(key)
        crash_point(CrashPoint.DISPATCHER_AFTER_PLAN)
        if verdict is Verdict.EXPIRED:
            await self._expiry.expire(key.event_id)
        if verdict is not Verdict.PLANNED:
            return False
        return await self._publish(key, span)

    async def _publish(self, key: RangeKey, span: Span) -> bool:
        rows = await self._store.planned_rows([span])
        count(rows)
        failed = await self._work.publish(rows)
        crash_point(CrashPoint.DISPATCHER_MID_RANGE)
        log.info(
            "range dispatched",
            event_id=key.event_id,
            range=key.n,
            published=not failed,
            deliveries=sum(one.total for one in rows),
            queued=sum(len(one.ids) for one in rows),
        )
        return not failed
