"""Subscribers, roles and topics of the fake."""

import re
from collections import Counter
from datetime import timedelta
from typing import Any

from carillon_client.ids import new_id
from carillon_client.testing import showing
from carillon_client.testing.answering import Asked, Refused, Said, invalid, not_found, only, page, text_of
from carillon_client.testing.state import State, SubscriberRow, now

_MAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_PHONE = re.compile(r"\+[1-9][\d ()-]{6,20}")
_MOST_SECONDS = 3600
_GIVEN = ("email", "phone", "locale", "time_zone", "attributes")


def put_subscriber(state: State, asked: Asked, subscriber: str) -> Said:
    """`PUT /v1/subscribers/{id}`."""
    body = _checked(only(asked.body, *_GIVEN))
    known = state.people.get(subscriber)
    row = SubscriberRow(subscriber, body)
    row.created_at = known.created_at if known else row.created_at
    state.people[subscriber] = row
    return Said(200 if known else 201, showing.subscriber(state, row))


def import_subscribers(state: State, asked: Asked) -> Said:
    """`POST /v1/subscribers:bulk`, as JSON lines."""
    lines = [_line(state, number, given) for number, given in enumerate(asked.body, start=1)]
    counts = Counter(line["status"] for line in lines)
    totals = {name: counts[name] for name in ("created", "updated", "unchanged", "refused")}
    return Said(207 if totals["refused"] else 200, {**totals, "data": lines})


def get_subscriber(state: State, _asked: Asked, subscriber: str) -> Said:
    """`GET /v1/subscribers/{id}`."""
    return Said(200, showing.subscriber(state, person(state, subscriber)))


def list_subscribers(state: State, asked: Asked) -> Said:
    """`GET /v1/subscribers`."""
    rows = [state.people[name] for name in sorted(state.people)]
    return page(rows, asked, lambda row: showing.subscriber(state, row))


def delete_subscriber(state: State, asked: Asked, subscriber: str) -> Said:
    """`DELETE /v1/subscribers/{id}`."""
    person(state, subscriber)
    if asked.query.get("erase") == "true":
        state.feeds.pop(subscriber, None)
        nobody = f"erased-{new_id()}"
        for delivery in state.deliveries.values():
            delivery.subscriber = nobody if delivery.subscriber == subscriber else delivery.subscriber
    del state.people[subscriber]
    for members in state.groups.values():
        members.discard(subscriber)
    return Said(204)


def mint_token(state: State, asked: Asked, subscriber: str) -> Said:
    """`POST /v1/subscribers/{id}/tokens`."""
    person(state, subscriber)
    body = only(asked.body or {}, "topics", "expires_in")
    seconds = body.get("expires_in", _MOST_SECONDS)
    if not 0 < seconds <= _MOST_SECONDS:
        raise invalid("/expires_in", f"Input should be less than or equal to {_MOST_SECONDS}")
    token, end = f"token-{new_id()}", now() + timedelta(seconds=seconds)
    state.tokens[token] = (subscriber, frozenset(body.get("topics", ())), end)
    return Said(201, {"token": token, "expires_at": text_of(end)})


def list_role(state: State, asked: Asked, role: str) -> Said:
    """`GET /v1/roles/{role}/members`."""
    return page(sorted(state.groups.get(("roles", role), ())), asked, _member)


def list_topic(state: State, asked: Asked, topic: str) -> Said:
    """`GET /v1/topics/{topic}/subscribers`."""
    return page(sorted(state.groups.get(("topics", topic), ())), asked, _member)


def give_role(state: State, _asked: Asked, role: str, subscriber: str) -> Said:
    """`PUT /v1/roles/{role}/members/{subscriber}`."""
    state.groups.setdefault(("roles", role), set()).add(person(state, subscriber).id)
    return Said(204)


def take_role(state: State, _asked: Asked, role: str, subscriber: str) -> Said:
    """`DELETE /v1/roles/{role}/members/{subscriber}`."""
    state.groups.get(("roles", role), set()).discard(person(state, subscriber).id)
    return Said(204)


def follow(state: State, _asked: Asked, topic: str, subscriber: str) -> Said:
    """`PUT /v1/topics/{topic}/subscribers/{subscriber}`."""
    state.groups.setdefault(("topics", topic), set()).add(person(state, subscriber).id)
    return Said(204)


def unfollow(state: State, _asked: Asked, topic: str, subscriber: str) -> Said:
    """`DELETE /v1/topics/{topic}/subscribers/{subscriber}`."""
    state.groups.get(("topics", topic), set()).discard(person(state, subscriber).id)
    return Said(204)


def person(state: State, subscriber: str) -> SubscriberRow:
    """Return somebody registered. Raises `Refused` 404."""
    row = state.people.get(subscriber)
    if row is None:
        raise not_found("subscriber")
    return row


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    for name, pattern in (("email", _MAIL), ("phone", _PHONE)):
        if given.get(name) is not None and not pattern.fullmatch(given[name]):
            raise invalid(f"/{name}", f"is no {name}")
    return given


def _line(state: State, number: int, given: Any) -> dict[str, Any]:
    name = given.get("id") if isinstance(given, dict) else None
    try:
        status = _imported(state, _checked(only(given, "id", "roles", "topics", "preferences", *_GIVEN)))
    except Refused as refused:
        return {"line": number, "id": name, "status": "refused", "problem": refused.document}
    return {"line": number, "id": name, "status": status}


def _imported(state: State, given: dict[str, Any]) -> str:
    if not given.get("id"):
        raise invalid("/id", "Field required")
    name = given["id"]
    known = state.people.get(name)
    before = showing.subscriber(state, known) if known else None
    changed = {**(known.given if known else {}), **{each: given[each] for each in _GIVEN if each in given}}
    row = SubscriberRow(name, {each: value for each, value in changed.items() if value is not None})
    row.created_at, row.updated_at = (
        (known.created_at, known.updated_at) if known else (row.created_at, now())
    )
    state.people[name] = row
    for kind in ("roles", "topics"):
        if kind in given:
            _belongs(state, kind, name, set(given[kind] or ()))
    if before is None:
        return "created"
    return "unchanged" if showing.subscriber(state, row) == before else "updated"


def _belongs(state: State, kind: str, subscriber: str, wanted: set[str]) -> None:
    for (group, name), members in state.groups.items():
        if group == kind and name not in wanted:
            members.discard(subscriber)
    for name in wanted:
        state.groups.setdefault((kind, name), set()).add(subscriber)


def _member(name: str) -> dict[str, str]:
    return {"id": name}
