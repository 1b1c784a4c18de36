"""Fires ticks. Every replica looks, one claims a schedule and fires it; the tick's id keeps it single."""

import asyncio
import random
from datetime import datetime
from uuid import UUID

import structlog
from carillon_shared.clock import Clock
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import is_transient
from carillon_shared.telemetry import metrics

from carillon_api.authentication.callers import ApiKey
from carillon_api.errors import Problem
from carillon_api.intake.completion import Circumstances
from carillon_api.intake.given import GivenEvent
from carillon_api.intake.service import EVENT_CONFLICT, Answer, Intake
from carillon_api.schedules import storage
from carillon_api.schedules.storage import DueSchedule
from carillon_api.schedules.ticks import due

log = structlog.get_logger(__name__)

_MOST = 100
_CLAIM_SECONDS = 15.0  # longer than a flush of the intake; a tick is tried again before it counts as missed
_NOT_NOW = 503  # the database is away or the line full: the same tick again


class Ticker:
    """Looks for schedules whose tick has come, every `interval` seconds."""

    def __init__(self, pool: Pool, intake: Intake, *, clock: Clock, interval: float) -> None:
        self._pool = pool
        self._intake = intake
        self._clock = clock
        self._interval = interval

    async def run(self) -> None:
        """Fire ticks until cancelled. The database may be away at any time."""
        while True:
            try:
                full = await self.tick() >= _MOST
            except Exception as error:
                if not is_transient(error):
                    log.exception("schedules not looked at")
                full = False
            if not full:
                await asyncio.sleep(self._interval * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    async def tick(self) -> int:
        """Fire what has come; return how many schedules that were."""
        claimed = await storage.claim(self._pool, most=_MOST, seconds=_CLAIM_SECONDS)
        await asyncio.gather(*(self._deal_with(schedule) for schedule in claimed))
        return len(claimed)

    async def _deal_with(self, schedule: DueSchedule) -> None:
        what = due(
            schedule.cron,
            schedule.time_zone,
            planned=schedule.next_at,
            now=schedule.moment,
            ends_at=schedule.ends_at,
            on_missed=schedule.on_missed,
        )
        event, failure = None, None
        if what.fire is not None:
            answer = await self._fire(schedule, what.fire)
            if isinstance(answer, Problem) and answer.status == _NOT_NOW:
                return  # the claim runs out, and the tick is fired then
            event, failure = _came_to(answer)
        else:
            failure = "missed: nothing could be fired in time"
        metrics.SCHEDULE_TICKS.labels(_result(what.fire, failure)).inc()
        await storage.advance(
            self._pool,
            schedule,
            following=what.following,
            fired=what.fire if event is not None else None,
            event=event,
            failure=failure,
        )

    async def _fire(self, schedule: DueSchedule, tick: datetime) -> Answer:
        caller = ApiKey(schedule.tenant_id, schedule.tenant, "schedule", frozenset({"events:write"}))
        at = Circumstances(caller=caller, now=self._clock.now())
        try:
            (answer,) = await self._intake.accept([GivenEvent(tick_of(schedule, tick))], at)
        except Problem as problem:
            return problem
        return answer


def tick_of(schedule: DueSchedule, tick: datetime) -> dict[str, object]:
    """Return the event of one tick. Its id names the tick: it is one event however often it is fired."""
    moment = tick.isoformat().replace("+00:00", "Z")
    return {**schedule.event, "source": f"/schedules/{schedule.id}", "id": moment, "time": moment}


def _result(fire: datetime | None, failure: str | None) -> str:
    if fire is None:
        return "missed"
    return "refused" if failure else "fired"


def _came_to(answer: Answer) -> tuple[UUID | None, str | None]:
    if not isinstance(answer, Problem):
        return UUID(answer["id"]), None
    if answer.slug == EVENT_CONFLICT:
        # Fired before, by somebody who did not come to say so, and changed since.
        return UUID(str(answer.members["event_id"])), None
    faults = "; ".join(f"{fault.get('pointer', '')} {fault['detail']}" for fault in answer.errors)
    log.warning("tick refused", problem=answer.slug)
    return None, f"{answer.title} {answer.detail or ''} {faults}".strip()[:1000]
