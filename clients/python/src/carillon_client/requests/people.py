"""Subscribers, their tokens, roles and topics."""

from collections.abc import Mapping, Sequence
from typing import Any

from carillon_client.call import Call, Page, Request, changing, get, listing, place, writing
from carillon_client.errors import error_of
from carillon_client.event import to_json
from carillon_client.people import Imported, Member, Subscriber, Token
from carillon_client.problems import from_document

LINES = 1_000
"""People in one request: enough to be quick, and done within the time of one attempt."""


def put(
    subscriber: str,
    *,
    email: str | None,
    phone: str | None,
    locale: str | None,
    time_zone: str | None,
    attributes: Mapping[str, Any] | None,
) -> Call[Subscriber]:
    """Register a person, or replace what is known of them."""
    given = {
        "email": email,
        "phone": phone,
        "locale": locale,
        "time_zone": time_zone,
        "attributes": attributes,
    }
    body = {name: value for name, value in given.items() if value is not None}
    return writing("PUT", place("subscribers", subscriber), Subscriber, body=body)


def put_many(many: Sequence[Mapping[str, Any]]) -> Call[list[Imported]]:
    """Register many people, or change what is known of them. Repeating it changes nothing."""
    body = b"".join(to_json(dict(person)) + b"\n" for person in many)
    headers = {"Content-Type": "application/jsonl"}
    request = Request("POST", "/v1/subscribers:bulk", body=body, headers=headers)
    return Call(request, lambda said: [_imported(line) for line in said["data"]])


def get_subscriber(subscriber: str) -> Call[Subscriber]:
    """Read a person."""
    return get(place("subscribers", subscriber), Subscriber)


def list_subscribers() -> Call[Page[Subscriber]]:
    """Read everybody, by id."""
    return listing("/v1/subscribers", Subscriber)


def delete(subscriber: str, *, erase: bool) -> Call[None]:
    """Forget a person; with `erase`, every trace of them."""
    query = (("erase", "true"),) if erase else ()
    return Call(Request("DELETE", place("subscribers", subscriber), query), lambda _said: None)


def token(subscriber: str, *, topics: Sequence[str], seconds: int) -> Call[Token]:
    """Mint a token; a second one does no harm."""
    body = {"topics": list(topics), "expires_in": seconds}
    return writing("POST", place("subscribers", subscriber, "tokens"), Token, body=body)


def list_members(group: str, name: str) -> Call[Page[Member]]:
    """Read who has a role or follows a topic; `group` is `roles` or `topics`."""
    return listing(place(group, name, _MEMBERS[group]), Member)


def member(method: str, group: str, name: str, subscriber: str) -> Call[None]:
    """Add (`PUT`) somebody to a role or topic, or take them out (`DELETE`)."""
    return changing(method, place(group, name, _MEMBERS[group], subscriber))


def _imported(line: Mapping[str, Any]) -> Imported:
    problem = line.get("problem")
    error = error_of(from_document(problem, status=422)) if problem is not None else None
    return Imported(line["id"], line["status"], error)


_MEMBERS = {"roles": "members", "topics": "subscribers"}
