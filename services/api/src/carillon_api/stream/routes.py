"""`/v1/inbox/stream` and the tickets that open it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.dependencies import current_subscriber, get_services, subscriber_scheme
from carillon_api.errors import forbidden, not_found, unauthorized
from carillon_api.inbox.models import Ticket
from carillon_api.inbox.person import Caller, Parts
from carillon_api.problem_responses import problems
from carillon_api.services import Services
from carillon_api.stream.connection import Person, StreamRequest
from carillon_api.stream.hub import TooManyStreamsError
from carillon_api.stream.response import EventStream, refused
from carillon_api.stream.tickets import make_ticket, redeem

router = APIRouter(prefix="/v1", tags=["Recipient"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An event stream: `ready`, then `notification`, `update`, `reset` and `signal`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


async def stream_caller(
    request: Request,
    services: Annotated[Services, Depends(get_services)],
    _documented: Annotated[object, Depends(subscriber_scheme)],
    ticket: Annotated[str | None, Query(max_length=200, description="From `POST /v1/inbox/ticket`.")] = None,
) -> SubscriberToken:
    """Return the person who opens a stream, by ticket or token. Raises `Problem` 401."""
    if ticket is None:
        return await current_subscriber(request)
    person = await redeem(services.pool, ticket)
    if person is None:
        raise unauthorized("The ticket is unknown, was not opened within a minute, or has ended.")
    request.scope["carillon.caller"] = person
    return person


@router.post("/inbox/ticket", status_code=201, responses=problems())
async def make_stream_ticket(caller: Caller, services: Parts) -> Ticket:
    """Return a ticket for `EventSource`, which cannot send a header.

    Open it within a minute; it may be reopened until the token that you called with expires.
    """
    return await make_ticket(services.pool, caller)


@router.get("/inbox/stream", response_class=Response, responses=_STREAM | problems(404, 429))
async def open_stream(
    caller: Annotated[SubscriberToken, Depends(stream_caller)],
    services: Parts,
    topics: Annotated[
        str, Query(max_length=4_000, description="Topics whose signals are wanted, with commas between.")
    ] = "",
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    last_event_id_again: Annotated[str | None, Query(alias="last_event_id", max_length=100)] = None,
) -> Response:
    """Stream your feed (Server-Sent Events). `Last-Event-ID` resumes after what you have."""
    known = await services.hub.people.find(caller.tenant_id, caller.subscriber)
    if known is None:
        raise not_found("subscriber")
    wanted = frozenset(filter(None, topics.split(",")))
    if not wanted <= known.topics | set(caller.topics):
        raise forbidden("You follow not all of these topics, and your token allows no others.")
    asked = StreamRequest(
        person=Person(caller.tenant_id, caller.tenant, caller.subscriber, known.number),
        topics=wanted,
        last_event_id=last_event_id_again if last_event_id is None else last_event_id,
        expires_at=caller.expires_at,
    )
    try:
        services.hub.check_room(asked)
    except TooManyStreamsError as error:
        raise refused(error) from error
    return EventStream(services.hub, asked)
