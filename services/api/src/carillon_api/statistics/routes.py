"""`/v1/stats`."""

from datetime import datetime, timedelta
from typing import Annotated

import asyncpg
from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import EventStatus
from fastapi import APIRouter, Depends, Query

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import Problem, invalid, not_found
from carillon_api.events.storage import get_event
from carillon_api.identifiers import uuid_or_missing
from carillon_api.intake.timestamps import Timestamp
from carillon_api.problem_responses import problems
from carillon_api.services import Services
from carillon_api.statistics import storage
from carillon_api.statistics.models import Dimension, EventCounts, Statistics, group_of

router = APIRouter(prefix="/v1/stats", tags=["Statistics"])

Reader = Annotated[ApiKey, Depends(require_scope("events:read"))]
Parts = Annotated[Services, Depends(get_services)]

LONGEST = timedelta(days=31)
_USUAL = timedelta(days=1)
_MOST_GROUPS = 1_000
_SECONDS = 10.0
"""Of one statement, so that somebody's large question does not keep others from the database."""


def _by(
    by: Annotated[
        str,
        Query(
            max_length=200,
            description="What to count by, in this order, with commas between: "
            + ", ".join(f"`{name}`" for name in Dimension)
            + ". Empty: one number for all.",
        ),
    ] = "channel,status",
) -> list[Dimension]:
    names = [name.strip() for name in by.split(",") if name.strip()]
    known = [Dimension(name) for name in names if name in set(Dimension)]
    if len(known) != len(names) or len(set(known)) != len(known):
        said = f"must name some of {', '.join(Dimension)}, each once"
        raise invalid([{"parameter": "by", "detail": said}])
    return known


@router.get("", operation_id="getStatistics", responses=problems(404))
async def get_statistics(
    caller: Reader,
    services: Parts,
    by: Annotated[list[Dimension], Depends(_by)],
    since: Annotated[Timestamp | None, Query(description="A day before `until`, if left out.")] = None,
    until: Annotated[Timestamp | None, Query(description="Now, if left out.")] = None,
    type: Annotated[str | None, Query(max_length=128)] = None,  # noqa: A002 - the parameter's public name
    channel: Channel | None = None,
    event: Annotated[str | None, Query(description="This event only, whenever it came.")] = None,
) -> Statistics:
    """Count what came of the events that were accepted within a time, and how long it took.

    At most 31 days at once, and 1,000 groups. What takes the database longer than ten seconds is refused: a
    shorter time, one type or one channel has fewer deliveries to count.
    """
    now = services.clock.now()
    wanted = await _wanted(caller, services, event) if event is not None else _span(since, until, now)
    wanted = storage.Wanted(wanted.since, wanted.until, type, wanted.event, channel)
    try:
        async with tenant_transaction(services.pool, caller.tenant_id) as connection:
            await storage.limit_time(connection, seconds=_SECONDS)
            events = await storage.count_events(connection, tenant_id=caller.tenant_id, wanted=wanted)
            rows = await storage.count_deliveries(
                connection, tenant_id=caller.tenant_id, wanted=wanted, by=by, most=_MOST_GROUPS + 1
            )
    except asyncpg.QueryCanceledError as error:
        raise _too_many() from error
    return Statistics(
        since=wanted.since,
        until=wanted.until,
        by=by,
        events=EventCounts(
            total=sum(events.values()),
            by_status={EventStatus(status): count for status, count in events.items()},
        ),
        data=[group_of(row, by) for row in rows[:_MOST_GROUPS]],
        truncated=len(rows) > _MOST_GROUPS,
    )


async def _wanted(caller: ApiKey, services: Services, event: str) -> storage.Wanted:
    """Return the moment of an event. Raises `Problem` 404."""
    event_id = uuid_or_missing(event, what="event")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await get_event(connection, tenant_id=caller.tenant_id, event_id=event_id)
    if found is None:
        raise not_found("event")
    moment = timedelta(seconds=1)
    return storage.Wanted(found.accepted_at - moment, found.accepted_at + moment, None, event_id, None)


def _span(since: datetime | None, until: datetime | None, now: datetime) -> storage.Wanted:
    end = until or now
    start = since or end - _USUAL
    if start >= end:
        raise invalid([{"parameter": "since", "detail": "must be earlier than until"}])
    if end - start > LONGEST:
        raise invalid([{"parameter": "since", "detail": f"must be at most {LONGEST.days} days before until"}])
    return storage.Wanted(start, end, None, None, None)


def _too_many() -> Problem:
    detail = "There is too much to count within ten seconds. Ask for a shorter time, one type or one channel."
    return Problem("too-much-to-count", "The question is too large.", 422, detail)
