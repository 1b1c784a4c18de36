"""Subscribers, their tokens, roles and topics."""

from collections.abc import Mapping, Sequence
from typing import Any

from carillon_client.call import Call, Page, changing, get, listing, place, writing
from carillon_client.people import Member, Subscriber, Token


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


def get_subscriber(subscriber: str) -> Call[Subscriber]:
    """Read a person."""
    return get(place("subscribers", subscriber), Subscriber)


def list_subscribers() -> Call[Page[Subscriber]]:
    """Read everybody, by id."""
    return listing("/v1/subscribers", Subscriber)


def delete(subscriber: str) -> Call[None]:
    """Forget a person."""
    return changing("DELETE", place("subscribers", subscriber))


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


_MEMBERS = {"roles": "members", "topics": "subscribers"}
