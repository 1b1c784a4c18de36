"""`/v1/events`: status, lists and cancelling. Accepting them is in `intake`."""

from typing import Annotated
from uuid import UUID

import asyncpg
from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.states import EventStatus
from fastapi import APIRouter, Depends, Query

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import not_found
from carillon_api.events import storage
from carillon_api.events.models import Cancelled, Event, EventDetail
from carillon_api.identifiers import UuidText, uuid_in_cursor, uuid_or_missing
from carillon_api.intake.timestamps import Timestamp
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/events", tags=["Events"])

Reader = Annotated[ApiKey, Depends(require_scope("events:read"))]
Writer = Annotated[ApiKey, Depends(require_scope("events:write"))]
Parts = Annotated[Services, Depends(get_services)]

_TRIES = 5


def _filter(
    type: Annotated[str | None, Query(max_length=128)] = None,  # noqa: A002 - the parameter's public name
    status: EventStatus | None = None,
    since: Annotated[Timestamp | None, Query(description="Accepted at this time or later.")] = None,
    until: Annotated[Timestamp | None, Query(description="Accepted before this time.")] = None,
) -> storage.EventFilter:
    return storage.EventFilter(type=type, status=status, since=since, until=until)


@router.get("", operation_id="listEvents")
async def list_events(
    caller: Reader,
    services: Parts,
    wanted: Annotated[storage.EventFilter, Depends(_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Event]:
    """List events, newest first."""
    before = uuid_in_cursor(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_events(
            connection, tenant_id=caller.tenant_id, wanted=wanted, before=before, limit=limit + 1
        )
    page = cut(rows, limit=limit, key=lambda row: str(row.id))
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.get("/{event}", operation_id="getEvent", responses=problems(404))
async def get_event(event: UuidText, caller: Reader, services: Parts) -> EventDetail:
    """Return an event with the progress of its deliveries."""
    event_id = uuid_or_missing(event, what="event")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.get_event(connection, tenant_id=caller.tenant_id, event_id=event_id)
    if found is None:
        raise not_found("event")
    return found


@router.delete("/{event}", operation_id="cancelEvent", responses=problems(404))
async def cancel_event(event: UuidText, caller: Writer, services: Parts) -> Cancelled:
    """Cancel an event: nothing that has not left yet will be sent. Asking twice changes nothing."""
    event_id = uuid_or_missing(event, what="event")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        unplanned = await storage.mark_cancelled(connection, tenant_id=caller.tenant_id, event_id=event_id)
    if unplanned is None:
        raise not_found("event")
    last = await _stop_next(services, caller, event_id, None)
    while last is not None:
        last = await _stop_next(services, caller, event_id, last)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await storage.cancelled(connection, event_id=event_id, unplanned=unplanned)


async def _stop_next(services: Services, caller: ApiKey, event_id: UUID, after: UUID | None) -> UUID | None:
    """Stop the next deliveries, again when a worker that leases them was in the way."""
    for tries_left in range(_TRIES - 1, -1, -1):
        try:
            async with tenant_transaction(services.pool, caller.tenant_id) as connection:
                return await storage.stop_deliveries(
                    connection, tenant_id=caller.tenant_id, event_id=event_id, after=after
                )
        except asyncpg.DeadlockDetectedError:
            if not tries_left:
                raise
    return None
