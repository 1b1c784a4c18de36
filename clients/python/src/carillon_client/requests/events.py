"""Events, deliveries and signals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_client.answers import (
    Accepted,
    Cancelled,
    Decided,
    Delivery,
    DeliveryCancelled,
    EventDetail,
    SignalAccepted,
    StoredEvent,
)
from carillon_client.call import Call, Page, Request, get, listing, place, writing
from carillon_client.dead_letters import OperationStarted
from carillon_client.event import Event


def send(event: Event, *, source: str) -> Call[Accepted]:
    """Hand in one event. It has an id, so repeating it is safe."""
    body = event.encoded(source=source)
    return Call(Request("POST", "/v1/events", body=body), Accepted.model_validate)


def addressed(
    event: Event,
    *,
    users: Sequence[Any] = (),
    roles: Sequence[str] = (),
    topics: Sequence[str] = (),
) -> Event:
    """Return the event for these people. Raises ``ValueError`` when it, or nobody, is named already."""
    if event.names_an_audience:
        raise ValueError("the event names an audience of its own; send it with send()")
    if not (users or roles or topics):
        raise ValueError("nobody is named")
    return replace(event, users=users, roles=roles, topics=topics)


def get_event(event: UUID | str) -> Call[EventDetail]:
    """Read an event by Carillon's id."""
    return get(place("events", event), EventDetail)


def list_events(
    *,
    type: str | None,  # noqa: A002 - its public name
    status: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Call[Page[StoredEvent]]:
    """Read events, newest first."""
    query = {"type": type, "status": status, "since": since, "until": until}
    return listing("/v1/events", StoredEvent, query=query)


def cancel_event(event: UUID | str) -> Call[Cancelled]:
    """Stop what has not left. Repeating it changes nothing."""
    return writing("DELETE", place("events", event), Cancelled)


def decide(event: UUID | str, verb: str, *, reason: str | None) -> Call[Decided]:
    """Approve or reject an event that waits for it. Approving twice is a conflict."""
    path = place("events", event, verb)
    return writing("POST", path, Decided, body=_why(reason), repeatable=verb == "reject")


def get_delivery(delivery: UUID | str) -> Call[Delivery]:
    """Read a delivery with every attempt."""
    return get(place("deliveries", delivery), Delivery)


def list_deliveries(
    *, event: UUID | str | None, subscriber: str | None, channel: str | None, status: str | None
) -> Call[Page[Delivery]]:
    """Read deliveries, those of the newest events first."""
    query = {"event": event, "subscriber": subscriber, "channel": channel, "status": status}
    return listing("/v1/deliveries", Delivery, query=query)


def retry_delivery(delivery: UUID | str, *, reason: str | None) -> Call[OperationStarted]:
    """Send a dead delivery again."""
    path = place("deliveries", delivery, "retry")
    return writing("POST", path, OperationStarted, body=_why(reason), repeatable=False)


def cancel_delivery(delivery: UUID | str, *, reason: str | None) -> Call[DeliveryCancelled]:
    """Stop a delivery that has not begun. Repeating it changes nothing."""
    return writing("POST", place("deliveries", delivery, "cancel"), DeliveryCancelled, body=_why(reason))


def signal(name: str, data: Any, *, users: Sequence[str], topics: Sequence[str]) -> Call[SignalAccepted]:
    """Show something to connected clients. The newest of a name wins, so a repeat does no harm."""
    body = {"name": name, "data": data, "users": list(users), "topics": list(topics)}
    return writing("POST", "/v1/signals", SignalAccepted, body=body)


def _why(reason: str | None) -> Mapping[str, str] | None:
    return {"reason": reason} if reason else None
