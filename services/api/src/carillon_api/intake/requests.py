"""Takes a request to `POST /v1/events` apart into events in plain form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from carillon_api.errors import Problem, invalid, malformed
from carillon_api.intake import cloudevents
from carillon_api.intake.given import Given, GivenEvent, UnreadableEvent
from carillon_api.intake.json_body import MAX_BATCH_BYTES, MAX_EVENT_BYTES, parse_json, read_body, too_large
from carillon_api.intake.models import MAX_ID, TRACEPARENT

MAX_BATCH = 1_000

_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"', re.ASCII)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The events of one request. A batch gets an answer for each, a single event is the answer."""

    events: list[Given]
    is_batch: bool


async def read_events(request: Request) -> Submitted:
    """Return the events of a request. Raises `Problem`: 400, 413, 415 or 422."""
    headers = request.headers
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise cloudevents.unsupported_media_type("Send the body without a content encoding.")
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    media_type = media_type.strip().lower()
    if media_type == "application/json" and not cloudevents.is_binary(headers):
        return _from_json(await _json(request, parameters))
    if media_type.startswith(cloudevents.PREFIX):
        return await _from_cloudevents(request, media_type, parameters)
    if cloudevents.is_binary(headers):
        body = await read_body(request, limit=MAX_EVENT_BYTES)
        return Submitted([cloudevents.from_binary(headers, body)], is_batch=False)
    raise cloudevents.unsupported_media_type(
        f"Send application/json, {cloudevents.STRUCTURED}, {cloudevents.BATCH}, or ce- headers."
    )


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the key for events without an id: a structured-field string, or plain text.

    Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.1. Raises `Problem` 400.
    """
    given = headers.get("idempotency-key")
    if given is None:
        return None
    quoted = _QUOTED.fullmatch(given.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given.strip()
    # Events of a batch get their place appended.
    if not key or len(key) > MAX_ID - 5 or not key.isascii() or not key.isprintable():
        raise malformed(f"Idempotency-Key must be printable text of at most {MAX_ID - 5} characters.")
    return key


def traceparent(headers: Mapping[str, str]) -> str | None:
    """Return the W3C trace context of the request; None when there is none or it is not well-formed."""
    given = headers.get("traceparent")
    return given if given and TRACEPARENT.fullmatch(given) else None


async def _from_cloudevents(request: Request, media_type: str, parameters: str) -> Submitted:
    if media_type == cloudevents.STRUCTURED:
        value = await _json(request, parameters, limit=MAX_EVENT_BYTES)
        return Submitted([cloudevents.from_structured(value)], is_batch=False)
    if media_type == cloudevents.BATCH:
        value = await _json(request, parameters)
        if not isinstance(value, list):
            raise invalid([{"pointer": "", "detail": "must be an array of events"}])
        return Submitted([_structured_or_problem(item) for item in _checked(value)], is_batch=True)
    raise cloudevents.unsupported_media_type(f"CloudEvents are taken as {cloudevents.STRUCTURED} only.")


def _from_json(value: Any) -> Submitted:
    if isinstance(value, dict):
        return Submitted([GivenEvent(value)], is_batch=False)
    if isinstance(value, list):
        return Submitted([_object_or_problem(item) for item in _checked(value)], is_batch=True)
    raise invalid([{"pointer": "", "detail": "must be an event or an array of events"}])


async def _json(request: Request, parameters: str, *, limit: int = MAX_BATCH_BYTES) -> Any:
    if "charset" in parameters.lower() and "utf-8" not in parameters.lower():
        raise cloudevents.unsupported_media_type("JSON is UTF-8.")
    body = await read_body(request, limit=limit)
    # Only an array may be longer than one event. What looks like neither is refused when it is parsed.
    if len(body) > MAX_EVENT_BYTES and body.lstrip()[:1] != b"[":
        raise too_large(MAX_EVENT_BYTES)
    return parse_json(body)


def _checked(items: list[Any]) -> list[Any]:
    if len(items) > MAX_BATCH:
        raise Problem("too-many", "There are too many events.", 413, f"At most {MAX_BATCH} at once.")
    return items


def _object_or_problem(item: Any) -> Given:
    if isinstance(item, dict):
        return GivenEvent(item)
    return UnreadableEvent(invalid([{"pointer": "", "detail": "must be an object"}]))


def _structured_or_problem(item: Any) -> Given:
    try:
        return cloudevents.from_structured(item)
    except Problem as problem:
        return UnreadableEvent(problem)
