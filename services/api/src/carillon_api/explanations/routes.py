"""`/v1/events:explain`, and `/explain` of events and deliveries."""

from typing import Annotated, Any

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.states import EventStatus
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request

from carillon_api.authentication.callers import ApiKey
from carillon_api.deliveries import storage as deliveries
from carillon_api.deliveries.models import Delivery
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import Problem, invalid, not_found
from carillon_api.explanations import storage
from carillon_api.explanations.explaining import event_steps, explained_delivery, nothing_found
from carillon_api.explanations.models import DryRun, EventExplanation, ExplainedDelivery
from carillon_api.explanations.rehearsal import rehearse
from carillon_api.explanations.trying import answer_of, refused
from carillon_api.identifiers import UuidText, uuid_in_cursor, uuid_or_missing
from carillon_api.intake.completion import Circumstances, complete
from carillon_api.intake.given import UnreadableEvent
from carillon_api.intake.openapi import ONE_EVENT
from carillon_api.intake.requests import read_events
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter()

Reader = Annotated[ApiKey, Depends(require_scope("events:read"))]
Parts = Annotated[Services, Depends(get_services)]


def _person(
    subscriber: Annotated[
        str | None, Query(min_length=1, max_length=200, description="This person only.")
    ] = None,
) -> str | None:
    if subscriber is not None and "\0" in subscriber:
        raise invalid([{"parameter": "subscriber", "detail": "must not contain U+0000"}])
    return subscriber


Person = Annotated[str | None, Depends(_person)]


# The body is read here and not by FastAPI: it may be plain or a CloudEvent, as for `POST /v1/events`.
@router.post("/v1/events:explain", tags=["Events"], **ONE_EVENT)
async def explain_unsent_event(request: Request, caller: Reader, services: Parts, person: Person) -> DryRun:
    """Dry run: what would come of this event, for everybody and over every channel. Nothing is stored.

    The event is accepted and planned by the same rules as a real one, as if it were due now, for the first
    100 people of its audience or for the one that `subscriber` names; then all of it is taken back.
    """
    submitted = await read_events(request)
    if submitted.is_batch or isinstance(submitted.events[0], UnreadableEvent):
        raise invalid([{"pointer": "", "detail": "must be one event"}])
    at = Circumstances(caller=caller, now=services.clock.now())
    try:
        row = await complete(submitted.events[0], services.event_types, at)
    except Problem as problem:
        return refused(problem)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await rehearse(connection, row, person=person)
    return answer_of(found, row, at=at.now, person=person)


@router.get(
    "/v1/events/{event}/explain", operation_id="explainEvent", tags=["Events"], responses=problems(404)
)
async def explain_event(
    event: UuidText,
    caller: Reader,
    services: Parts,
    person: Person,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> EventExplanation:
    """Return what was decided about each person and channel, and why. It is read, not decided again."""
    event_id = uuid_or_missing(event, what="event")
    wanted = deliveries.DeliveryFilter(event=event_id, subscriber=person, channel=None, status=None)
    before = uuid_in_cursor(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        row = await storage.get_event(connection, tenant_id=caller.tenant_id, event_id=event_id)
        if row is None:
            raise not_found("event")
        rows = await deliveries.list_deliveries(
            connection, tenant_id=caller.tenant_id, wanted=wanted, before=before, limit=limit + 1
        )
    page = cut(rows, limit=limit, key=lambda delivery: str(delivery.id))
    return _explanation(row, Page(data=list(page.rows), next_cursor=page.next_cursor), person=person)


def _explanation(row: dict[str, Any], page: Page[Delivery], *, person: str | None) -> EventExplanation:
    status = EventStatus(row["status"])
    return EventExplanation(
        event_id=row["id"],
        type=row["type"],
        status=status,
        steps=event_steps(row),
        data=[explained_delivery(delivery) for delivery in page.data],
        next_cursor=page.next_cursor,
        note=None if page.data else nothing_found(status, person),
    )


@router.get(
    "/v1/deliveries/{delivery}/explain",
    operation_id="explainDelivery",
    tags=["Deliveries"],
    responses=problems(404),
)
async def explain_delivery(delivery: UuidText, caller: Reader, services: Parts) -> ExplainedDelivery:
    """Return why a delivery is what it is, rule by rule, and what has happened to it."""
    delivery_id = uuid_or_missing(delivery, what="delivery")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await deliveries.get_delivery(connection, tenant_id=caller.tenant_id, delivery_id=delivery_id)
    if found is None:
        raise not_found("delivery")
    return explained_delivery(found)
