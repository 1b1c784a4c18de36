"""Makes a row of an event: what the producer left out comes from the event's type."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from carillon_shared.content.audience import render_audience_rule
from carillon_shared.content.builtin import DIGEST
from carillon_shared.content.errors import ContentError
from pydantic import ValidationError

from carillon_api.authentication.callers import ApiKey
from carillon_api.errors import FieldError, Problem, field_error, invalid
from carillon_api.intake.collapsing import collapse_faults, on_conflict
from carillon_api.intake.event_types import EventType, EventTypes
from carillon_api.intake.given import GivenEvent
from carillon_api.intake.json_body import MAX_EVENT_BYTES, too_large
from carillon_api.intake.models import Audience, EventBody, InlineUser
from carillon_api.intake.rows import IntakeRow, Key

MAX_AHEAD = timedelta(days=30)
_MAX_EXPIRY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What belongs to the request and not to the event."""

    caller: ApiKey
    now: datetime
    traceparent: str | None = None
    default_id: str | None = None  # from Idempotency-Key


async def complete(given: GivenEvent, types: EventTypes, at: Circumstances) -> IntakeRow:
    """Return the row of one event in plain form. Raises `Problem` 413 or 422."""
    canonical = orjson.dumps(given.plain, option=orjson.OPT_SORT_KEYS)
    if len(canonical) > MAX_EVENT_BYTES:
        raise too_large(MAX_EVENT_BYTES)
    body = _validated(given.plain)
    event_type = await types.find(at.caller.tenant_id, body.type)
    if event_type is None or body.type == DIGEST:  # those are made here only
        detail = "is no registered event type; register it with PUT /v1/event-types/{type}"
        raise invalid([{"pointer": "/type", "detail": detail}])
    body_hash = hashlib.sha256(canonical).digest()
    traceparent = given.traceparent or at.traceparent
    return _row(body, event_type, at=at, body_hash=body_hash, traceparent=traceparent)


def _validated(plain: dict[str, Any]) -> EventBody:
    try:
        return EventBody.model_validate(plain)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise invalid([field_error({**fault, "loc": ("body", *fault["loc"])}) for fault in faults]) from error


def _row(
    body: EventBody, event_type: EventType, *, at: Circumstances, body_hash: bytes, traceparent: str | None
) -> IntakeRow:
    _check(body, event_type, at.now)
    audience = body.audience or _default_audience(body, event_type)
    wanted = body.channels or event_type.channels
    channels = [channel for channel in event_type.channels if channel in wanted]  # the order is the type's
    people = _people(audience)
    return IntakeRow(
        key=Key(at.caller.tenant_id, body.source, body.id or at.default_id or str(uuid4())),
        body_hash=body_hash,
        tenant=at.caller.tenant,
        type=body.type,
        category=body.category or event_type.category,
        lane=body.priority.value if body.priority else event_type.lane,
        channels="{" + ",".join(channels) + "}",
        subject=body.subject,
        time=body.time,
        data=_json(body.data),
        audience=_json(_stored_audience(audience)),
        inline_users=_json(people) if people else None,
        actor=body.actor,
        deliver_at=body.deliver_at,
        expires_at=body.expires_at or _default_expiry(body, event_type, at.now),
        traceparent=traceparent,
        throttle=_throttle(audience, event_type, channels),
        needs_approval=event_type.approval,
        collapse_key=body.collapse_key,
        on_conflict=on_conflict(body),
    )


def _check(body: EventBody, event_type: EventType, now: datetime) -> None:
    faults = collapse_faults(body)
    if event_type.payload:
        faults += event_type.payload.faults(body.data)
    if body.channels:
        faults += _channel_faults(body, event_type)
    if body.category and not event_type.takes_category:
        faults.append({"pointer": "/category", "detail": "is the type's own; only `message` takes one"})
    if body.deliver_at and body.deliver_at > now + MAX_AHEAD:
        faults.append({"pointer": "/deliver_at", "detail": f"must be at most {MAX_AHEAD.days} days ahead"})
    if body.expires_at and body.expires_at > now + _MAX_EXPIRY:
        faults.append({"pointer": "/expires_at", "detail": f"must be at most {_MAX_EXPIRY.days} days ahead"})
    if body.audience and body.audience.names_nobody:
        faults.append({"pointer": "/audience", "detail": "names nobody; leave it out to use the type's rule"})
    if faults:
        raise invalid(faults)


def _channel_faults(body: EventBody, event_type: EventType) -> list[FieldError]:
    faults: list[FieldError] = []
    seen: set[str] = set()
    for place, channel in enumerate(body.channels or ()):
        if channel.value not in event_type.channels:
            faults.append({"pointer": f"/channels/{place}", "detail": "is none of the event type's channels"})
        elif channel.value in seen:
            faults.append({"pointer": f"/channels/{place}", "detail": "is named twice"})
        seen.add(channel.value)
    return faults


def _default_audience(body: EventBody, event_type: EventType) -> Audience:
    if event_type.audience is None:
        detail = "is missing, and the event type has no audience rule"
        raise invalid([{"pointer": "/audience", "detail": detail}])
    try:
        return Audience.model_validate(render_audience_rule(event_type.audience, body.data))
    except ContentError as error:
        raise _rule_failed(error.detail) from error
    except ValidationError as error:
        raise _rule_failed(str(error.errors(include_input=False)[0]["msg"])) from error


def _rule_failed(detail: str) -> Problem:
    return invalid([{"pointer": "/data", "detail": f"the type's audience rule cannot be filled: {detail}"}])


def _stored_audience(audience: Audience) -> dict[str, Any]:
    stored: dict[str, Any] = {
        "users": list(dict.fromkeys(_id_of(user) for user in audience.users)),
        "roles": audience.roles,
        "topics": audience.topics,
        "exclude": audience.exclude,
    }
    stored = {name: names for name, names in stored.items() if names}
    return stored | {"everyone": True} if audience.everyone else stored


def _people(audience: Audience) -> list[Mapping[str, Any]]:
    """Return the people given inline, each id once: the last word counts."""
    people = {user.id: user for user in audience.users if isinstance(user, InlineUser)}
    return [user.model_dump(exclude_unset=True) for user in people.values()]


def _default_expiry(body: EventBody, event_type: EventType, now: datetime) -> datetime | None:
    if event_type.expires_after is None:
        return None
    return max(now, body.deliver_at or now) + event_type.expires_after


def _throttle(audience: Audience, event_type: EventType, channels: list[str]) -> str | None:
    """A limit that refuses can be checked at intake when the event is for one person, known by name."""
    limit = event_type.reject
    if limit is None or len(audience.users) != 1 or audience.roles or audience.topics or audience.everyone:
        return None
    limited = sorted(limit.channels.intersection(channels))
    if not limited:
        return None
    person = _id_of(audience.users[0])
    return _json(
        {"subscriber": person, "channels": limited, "limit": limit.limit, "per_seconds": limit.per_seconds}
    )


def _id_of(user: str | InlineUser) -> str:
    return user if isinstance(user, str) else user.id


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
