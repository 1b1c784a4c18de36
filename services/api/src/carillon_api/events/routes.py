"""`/v1/events`: status, lists and cancelling. Accepting them is in `intake`."""

import asyncio
import time
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
_MOST_AT_ONCE = 50_000
_OLDER_SECONDS = 10.0
_LOOK_SECONDS = 0.02


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
    """Cancel an event: nothing that has not left yet will be sent. Asking twice changes nothing.

    Of a large event the first 50,000 deliveries are marked before the answer, the others soon after it; the
    numbers are exact all the same.
    """
    event_id = uuid_or_missing(event, what="event")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        transaction = await storage.mark_cancelled(connection, tenant_id=caller.tenant_id, event_id=event_id)
    if transaction is None:
        raise not_found("event")
    if not await _stop_first(services, caller, event_id):
        await _until_older_ended(services, caller, transaction)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await storage.cancelled(connection, tenant_id=caller.tenant_id, event_id=event_id)


async def _stop_first(services: Services, caller: ApiKey, event_id: UUID) -> bool:
    """Stop the first deliveries; return whether those were all. A dispatcher stops the others."""
    last: UUID | None = None
    for _ in range(_MOST_AT_ONCE // storage.CANCEL_BATCH + 1):
        last = await _stop_next(services, caller, event_id, last)
        if last is None:
            return True
    return False


async def _until_older_ended(services: Services, caller: ApiKey, transaction: str) -> None:
    """Wait for what may have begun to send before the event was cancelled, so that it is counted as sent.

    What takes longer than that is no statement of ours.
    """
    deadline = time.monotonic() + _OLDER_SECONDS
    while time.monotonic() < deadline:
        async with tenant_transaction(services.pool, caller.tenant_id) as connection:
            if await storage.older_ended(connection, transaction):
                return
        await asyncio.sleep(_LOOK_SECONDS)


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
