"""`/v1/schedules`."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import FieldError, Problem, conflict, invalid, not_found
from carillon_api.identifiers import UuidText, uuid_in_cursor, uuid_or_missing
from carillon_api.intake.completion import Circumstances, complete
from carillon_api.intake.given import GivenEvent
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut
from carillon_api.problem_responses import problems
from carillon_api.schedules import storage
from carillon_api.schedules.models import NewSchedule, Schedule, ScheduleChange
from carillon_api.schedules.ticks import next_tick
from carillon_api.services import Services

router = APIRouter(prefix="/v1/schedules", tags=["Schedules"])

Reader = Annotated[ApiKey, Depends(require_scope("events:read"))]
Writer = Annotated[ApiKey, Depends(require_scope("events:write"))]
Parts = Annotated[Services, Depends(get_services)]

MOST_SCHEDULES = 1_000
_WHAT = "schedule"


@router.post("", status_code=201, operation_id="createSchedule", responses=problems(409))
async def create_schedule(wanted: NewSchedule, caller: Writer, services: Parts) -> Schedule:
    """Have an event sent again and again. It is checked now, and once more at every tick."""
    await _check_event(wanted, caller, services)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        if await storage.count(connection, tenant_id=caller.tenant_id) >= MOST_SCHEDULES:
            raise conflict(f"A tenant has at most {MOST_SCHEDULES} schedules.", slug="too-many")
        next_at = _next(wanted, services.clock.now())
        return await storage.create(connection, tenant_id=caller.tenant_id, wanted=wanted, next_at=next_at)


@router.get("", operation_id="listSchedules")
async def list_schedules(
    caller: Reader, services: Parts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Schedule]:
    """List schedules."""
    after = uuid_in_cursor(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.listed(connection, tenant_id=caller.tenant_id, after=after, limit=limit + 1)
    page = cut(rows, limit=limit, key=lambda row: str(row.id))
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.get("/{schedule}", operation_id="getSchedule", responses=problems(404))
async def get_schedule(schedule: UuidText, caller: Reader, services: Parts) -> Schedule:
    """Return a schedule with its next ticks, and what came of the last."""
    schedule_id = uuid_or_missing(schedule, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.find(connection, tenant_id=caller.tenant_id, schedule=schedule_id)
    if found is None:
        raise not_found(_WHAT)
    return found


@router.patch("/{schedule}", operation_id="changeSchedule", responses=problems(404))
async def change_schedule(
    schedule: UuidText, change: ScheduleChange, caller: Writer, services: Parts
) -> Schedule:
    """Change, pause or resume a schedule. Ticks of a pause are not missed: they never were.

    One that is due this moment may still come as it was.
    """
    schedule_id = uuid_or_missing(schedule, what=_WHAT)
    if change.event is not None:
        await _check_event(NewSchedule(cron="* * * * *", event=change.event), caller, services)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        before = await storage.find(connection, tenant_id=caller.tenant_id, schedule=schedule_id, lock=True)
        if before is None:
            raise not_found(_WHAT)
        wanted = _changed(before, change)
        return await storage.replace(
            connection,
            tenant_id=caller.tenant_id,
            schedule=schedule_id,
            wanted=wanted,
            next_at=_next_after_change(before, wanted, services.clock.now()),
        )


@router.delete("/{schedule}", status_code=204, operation_id="deleteSchedule", responses=problems(404))
async def delete_schedule(schedule: UuidText, caller: Writer, services: Parts) -> None:
    """Remove a schedule. Events it has sent stay; they are cancelled like any other."""
    schedule_id = uuid_or_missing(schedule, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        if not await storage.remove(connection, tenant_id=caller.tenant_id, schedule=schedule_id):
            raise not_found(_WHAT)


def _changed(before: Schedule, change: ScheduleChange) -> NewSchedule:
    given = {name: getattr(change, name) for name in change.model_fields_set}
    kept = {
        name: getattr(before, name)
        for name in ("name", "cron", "time_zone", "event", "on_missed", "ends_at", "paused")
    }
    nothing = [name for name, value in given.items() if value is None and name != "ends_at"]
    if nothing:
        raise invalid([{"pointer": f"/{name}", "detail": "must not be null"} for name in nothing])
    return NewSchedule.model_validate(kept | given)


def _next_after_change(before: Schedule, wanted: NewSchedule, now: datetime) -> datetime | None:
    """A tick that is due already stays due, unless another time or a pause was asked for."""
    same = all(getattr(before, name) == getattr(wanted, name) for name in ("cron", "time_zone", "ends_at"))
    if same and not wanted.paused and not before.paused:
        return before.next_at
    return _next(wanted, now)


def _next(wanted: NewSchedule, now: datetime) -> datetime | None:
    if wanted.paused:
        return None
    return next_tick(wanted.cron, wanted.time_zone, now, ends_at=wanted.ends_at)


async def _check_event(wanted: NewSchedule, caller: ApiKey, services: Services) -> None:
    """Raise `Problem` 422 that points into `/event` for an event that would be refused now."""
    at = Circumstances(caller=caller, now=services.clock.now())
    try:
        await complete(GivenEvent({**wanted.event, "id": str(UUID(int=0))}), services.event_types, at)
    except Problem as problem:
        raise Problem(
            problem.slug,
            problem.title,
            problem.status,
            problem.detail,
            errors=[_inside(fault) for fault in problem.errors],
        ) from problem


def _inside(fault: FieldError) -> FieldError:
    return {"pointer": f"/event{fault.get('pointer', '')}", "detail": fault["detail"]}
