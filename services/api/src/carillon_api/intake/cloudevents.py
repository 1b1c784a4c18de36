"""CloudEvents 1.0 over HTTP: structured, binary and batched.

Source: CloudEvents specification 1.0.2, its JSON format, and its HTTP protocol binding
(https://github.com/cloudevents/spec, tag v1.0.2).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from carillon_api.errors import FieldError, Problem, field_error, invalid
from carillon_api.intake.given import GivenEvent
from carillon_api.intake.json_body import parse_json
from carillon_api.intake.models import MAX_ID, MAX_SOURCE, TRACEPARENT
from carillon_api.intake.timestamps import Timestamp

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
PREFIX = "application/cloudevents"

_EXTENSION_NAME = re.compile(r"[a-z0-9]+", re.ASCII)
_JSON_TYPE = re.compile(r"[\w.+-]+/([\w.-]+\+)?json(\s*;.*)?", re.IGNORECASE | re.ASCII)
_MIN_INTEGER, _MAX_INTEGER = -(2**31), 2**31 - 1
# RFC 3986, section 2: what a URI may be written with.
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", re.ASCII)


def _uri(value: str) -> str:
    if not _URI.fullmatch(value):
        raise ValueError("must be a URI-reference")
    return value


def _json_media_type(value: str) -> str:
    if not _JSON_TYPE.fullmatch(value):
        raise ValueError("only JSON data is taken")
    return value


class CloudEvent(BaseModel):
    """The attributes, and the data once it is decoded. Extensions are checked and, but for two, ignored."""

    model_config = ConfigDict(extra="allow", frozen=True)

    specversion: Literal["1.0"]
    id: Annotated[str, Field(min_length=1, max_length=MAX_ID)]
    source: Annotated[str, Field(min_length=1, max_length=MAX_SOURCE), AfterValidator(_uri)]
    type: Annotated[str, Field(min_length=1, max_length=128)]
    datacontenttype: Annotated[
        str | None, Field(min_length=1), AfterValidator(lambda v: v and _json_media_type(v))
    ] = None
    dataschema: Annotated[str | None, Field(min_length=1), AfterValidator(lambda v: v and _uri(v))] = None
    subject: Annotated[str | None, Field(min_length=1, max_length=1000)] = None
    time: Timestamp | None = None
    data: dict[str, Any] = {}
    traceparent: str | None = None  # extension "distributed tracing"
    expirytime: Timestamp | None = None  # extension "expiry time"

    @model_validator(mode="after")
    def _extensions_are_proper(self) -> "CloudEvent":
        for name, value in (self.model_extra or {}).items():
            if not _EXTENSION_NAME.fullmatch(name):
                raise ValueError(f"the attribute {name[:40]!r} must have a name of a-z and 0-9 only")
            if value is not None and not _is_simple(value):
                raise ValueError(f"the attribute {name!r} must be text, a 32-bit integer or a boolean")
        return self


def _is_simple(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return _MIN_INTEGER <= value <= _MAX_INTEGER
    return isinstance(value, str | bool)


def from_structured(value: Any) -> GivenEvent:
    """Return the plain form of one event in the JSON format. Raises `Problem` 422."""
    if not isinstance(value, dict):
        raise invalid([{"pointer": "", "detail": "must be an object"}])
    if "data_base64" in value:
        value = _with_decoded_data(value)
    return _plain(value)


def from_binary(headers: Mapping[str, str], body: bytes) -> GivenEvent:
    """Return the plain form of an event whose attributes are `ce-` headers and whose data is the body.

    Raises `Problem` 400 when the body is not JSON, 415 when it does not claim to be, 422 else.
    """
    if "ce-datacontenttype" in headers:
        raise invalid([{"parameter": "ce-datacontenttype", "detail": "must be given as Content-Type"}])
    attributes: dict[str, Any] = {
        name[3:]: _decoded(name, value) for name, value in headers.items() if name.startswith("ce-")
    }
    if body:
        attributes["data"] = _data_of(headers.get("content-type", "application/json"), body)
    try:
        return _plain(attributes)
    except Problem as problem:
        problem.errors = [_as_header(fault) for fault in problem.errors]
        raise


def is_binary(headers: Mapping[str, str]) -> bool:
    """Tell whether the request carries an event in binary mode."""
    return "ce-specversion" in headers or "ce-type" in headers


def _plain(attributes: dict[str, Any]) -> GivenEvent:
    given = {name: value for name, value in attributes.items() if value is not None}
    try:
        event = CloudEvent.model_validate(given)
    except ValidationError as error:
        faults = [field_error({**fault, "loc": ("body", *fault["loc"])}) for fault in error.errors()]
        raise invalid(faults) from error
    plain: dict[str, Any] = {"type": event.type, "source": event.source, "id": event.id, "data": event.data}
    optional: dict[str, str | datetime | None] = {
        "subject": event.subject,
        "time": event.time,
        "expires_at": event.expirytime,
    }
    plain |= {name: value for name, value in optional.items() if value is not None}
    traced = event.traceparent and TRACEPARENT.fullmatch(event.traceparent)
    return GivenEvent(plain, event.traceparent if traced else None)


def _with_decoded_data(value: dict[str, Any]) -> dict[str, Any]:
    if "data" in value:
        raise invalid([{"pointer": "/data_base64", "detail": "must not stand beside data"}])
    try:
        raw = base64.b64decode(value["data_base64"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise invalid([{"pointer": "/data_base64", "detail": "must be base64"}]) from error
    try:
        data = parse_json(raw)
    except Problem as problem:
        raise invalid([{"pointer": "/data_base64", "detail": "must hold JSON"}]) from problem
    return {name: inner for name, inner in value.items() if name != "data_base64"} | {"data": data}


def _data_of(content_type: str, body: bytes) -> Any:
    if not _JSON_TYPE.fullmatch(content_type):
        raise unsupported_media_type("The data of a CloudEvent must be JSON.")
    return parse_json(body)


def _decoded(name: str, value: str) -> str:
    """Undo the percent-encoding of header values (HTTP binding, section 3.1.3.2); bytes are UTF-8."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        text = unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError as error:
        raise invalid([{"parameter": name, "detail": "must be percent-encoded UTF-8"}]) from error
    if "\0" in text:
        raise invalid([{"parameter": name, "detail": "must not contain U+0000"}])
    return text


def _as_header(fault: FieldError) -> FieldError:
    pointer = fault.get("pointer")
    if pointer is None or pointer == "/data" or pointer.startswith("/data/"):
        return fault
    return {"parameter": "ce-" + pointer[1:], "detail": fault["detail"]}


def unsupported_media_type(detail: str) -> Problem:
    """The body is of a kind that is not read here."""
    return Problem("unsupported-media-type", "This kind of content is not taken here.", 415, detail)
