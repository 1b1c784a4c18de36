"""Accepts events as the service does: the same answers, for the same faults."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from carillon_client.testing.answering import Asked, Refused, Said, invalid, only, time_of
from carillon_client.testing.planning import plan
from carillon_client.testing.state import EventType, FakeEvent, State, now

_MAX_EVENT_BYTES = 256 * 1024
_MAX_BATCH = 1_000
_MEMBERS = (
    *("type", "data", "source", "id", "subject", "time", "audience", "actor", "channels", "priority"),
    *("category", "deliver_at", "expires_at", "collapse_key", "on_conflict", "force"),
)
_LISTS = ("users", "roles", "topics", "exclude")
_OPEN = {"accepted", "scheduled", "pending_approval"}


def post(state: State, asked: Asked) -> Said:
    """`POST /v1/events`: one event, or an array of them."""
    if not isinstance(asked.body, list):
        return Said(202, _accept(state, asked.body))
    if not 1 <= len(asked.body) <= _MAX_BATCH:
        raise invalid("", f"must hold 1 to {_MAX_BATCH} events")
    items = [_item(state, place, body) for place, body in enumerate(asked.body)]
    return Said(207 if any("problem" in item for item in items) else 202, {"data": items})


def _item(state: State, place: int, body: Any) -> dict[str, Any]:
    try:
        return {"index": place, **_accept(state, body)}
    except Refused as refused:
        answer = {"id": None, "status": "refused", "duplicate": False, "problem": refused.document}
        return {"index": place, **answer}


def _accept(state: State, given: Any) -> dict[str, Any]:
    body = only(given, *_MEMBERS)
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    if len(canonical) > _MAX_EVENT_BYTES:
        raise Refused(413, "too-large", "At most 256 KiB are taken.")
    kind = _checked(state, body)
    key = (str(body.get("source", "/")), str(body.get("id") or object()))
    digest = hashlib.sha256(canonical).digest()
    known = state.keys.get(key)
    if known is not None:
        return _again(state, known, digest)
    _collapse(state, body)
    event = FakeEvent(body, kind)
    state.events[event.id], state.keys[key] = event, (event.id, digest)
    deliver_at = time_of(body.get("deliver_at"))
    if kind.approval:
        event.status = "pending_approval"
    elif deliver_at is not None and deliver_at > now():
        event.status = "scheduled"
    answer = {"id": event.id, "status": event.status, "duplicate": False}
    if event.status == "accepted":
        plan(state, event)
    return answer


def _again(state: State, known: tuple[str, bytes], digest: bytes) -> dict[str, Any]:
    event, before = known
    if digest != before:
        detail = "An event with this source and id, and another body, is already there."
        raise Refused(409, "event-conflict", detail, event_id=event)
    status = state.events[event].status
    shown = status if status in {"scheduled", "pending_approval"} else "accepted"
    return {"id": event, "status": shown, "duplicate": True}


def _checked(state: State, body: Mapping[str, Any]) -> EventType:
    _check_members(body)
    audience = _checked_audience(body.get("audience"))
    kind = state.types.get(body["type"])
    if kind is None:
        raise invalid("/type", "is no registered event type; register it with FakeCarillon.register()")
    if audience is None and kind.audience is None:
        raise invalid("/audience", "is missing, and the event type has no audience rule")
    for place, channel in enumerate(body.get("channels") or ()):
        if channel not in kind.channels:
            raise invalid(f"/channels/{place}", "is none of the event type's channels")
    if body.get("category") and kind.name != "message":
        raise invalid("/category", "is the type's own; only `message` takes one")
    return kind


def _check_members(body: Mapping[str, Any]) -> None:
    for name, wanted in (("type", str), ("data", dict)):
        if not isinstance(body.get(name), wanted):
            raise invalid(f"/{name}", f"must be a {wanted.__name__}" if name in body else "Field required")
    later = time_of(body.get("deliver_at"))
    if later is not None and later > now() + timedelta(days=30):
        raise invalid("/deliver_at", "must be at most 30 days ahead")
    for name in ("on_conflict", "force"):
        if name in body and "collapse_key" not in body:
            raise invalid(f"/{name}", "means nothing without a collapse_key")


def _checked_audience(audience: Any) -> Any:
    if audience is None:
        return None
    only(audience, *_LISTS, "everyone")
    for name in _LISTS:
        for place, each in enumerate(audience.get(name, ())):
            if not (each.get("id") if isinstance(each, dict) else each):
                raise invalid(f"/audience/{name}/{place}", "String should have at least 1 character")
    if not any(audience.get(name) for name in ("users", "roles", "topics", "everyone")):
        raise invalid("/audience", "names nobody; leave it out to use the type's rule")
    return audience


def _collapse(state: State, body: Mapping[str, Any]) -> None:
    """Let earlier events of the same collapse key stand in the way, or end."""
    key = body.get("collapse_key")
    rule = "allow" if body.get("force") else body.get("on_conflict", "reject")
    if key is None or rule == "allow":
        return
    for event in reversed(state.events.values()):
        same = event.body.get("collapse_key") == key and event.type == body["type"]
        if not same or event.status not in _OPEN:
            continue
        if rule == "reject":
            raise Refused(
                409, "collapsed", f"The event {event.id} has the same collapse key.", event_id=event.id
            )
        event.status, event.cancelled_at = "cancelled", now()
