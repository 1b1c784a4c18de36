"""A message on its way to the broker, and its bytes on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Any

from pamqp import commands, encode, frame

from carillon_shared.contracts.codec import MAX_BODY_BYTES
from carillon_shared.contracts.codec import encode as encode_body
from carillon_shared.contracts.messages import LiveChunk, LiveGone, LiveSignal, Message, OutcomeBatch
from carillon_shared.topology.carillon import LIVE, OUTCOMES

Header = str | int | bool


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What to publish and where.

    `message_id` stays the same when the message is published again. `headers` named `x-...`, `CC` and `BCC`
    belong to the broker and are left out, so that nothing is copied from a message that came in.
    """

    exchange: str
    routing_key: str
    message: Message
    message_id: str
    headers: Mapping[str, Header] | None = None
    traceparent: str | None = None  # W3C Trace Context, passed on as it is
    mandatory: bool = True
    persistent: bool = True


def live(message: LiveChunk | LiveSignal | LiveGone, *, message_id: str) -> Outgoing:
    """Return a message for connected clients: may be lost, and nobody may be listening."""
    return Outgoing(LIVE.name, "", message, message_id, mandatory=False, persistent=False)


def outcome(message: OutcomeBatch, *, message_id: str) -> Outgoing:
    """Return a message for product services, of which there may be none."""
    key = f"{message.tenant}.{message.channel}.{message.state}"
    return Outgoing(OUTCOMES.name, key, message, message_id, mandatory=False)


# Written by hand because pamqp needs 40 of the 110 microseconds that one publish costs through aiormq: the
# properties are always the same seven, and the method frame depends on nothing but where the message goes.
_FRAME = Struct(">BHI")
_CONTENT = Struct(">HHQH")  # class, weight, body size, property flags
_MODE = Struct(">B")
_SECONDS = Struct(">Q")
_END = b"\xce"
_METHOD, _HEADER, _BODY = 1, 2, 3
_BASIC = 60
_JSON = b"\x10application/json"
# content_type, delivery_mode, message_id, timestamp, type, app_id (AMQP 0-9-1, section 4.2.6.1)
_FLAGS = 1 << 15 | 1 << 12 | 1 << 7 | 1 << 6 | 1 << 5 | 1 << 3
_HEADERS_FLAG = 1 << 13
_NOT_OURS = frozenset({"CC", "BCC"})


@dataclass(frozen=True, slots=True)
class Framing:
    """What the bytes depend on besides the message: channel number, largest payload, our name."""

    channel: int
    max_payload: int
    app_id: str


def publish_frames(outgoing: Outgoing, framing: Framing, *, now: float) -> bytes:
    """Return the frames of one basic.publish; `now` in Unix seconds.

    Raises ``ValueError`` for a routing key or id that AMQP cannot carry (over 255 bytes), and for a body that
    no reader of ours would take.
    """
    body = _body(outgoing)
    properties = _properties(outgoing, framing.app_id, now)
    flags = _FLAGS | (_HEADERS_FLAG if outgoing.headers or outgoing.traceparent else 0)
    header = _CONTENT.pack(_BASIC, 0, len(body), flags) + properties
    parts = [
        _method_frame(framing.channel, outgoing.exchange, outgoing.routing_key, outgoing.mandatory),
        _FRAME.pack(_HEADER, framing.channel, len(header)),
        header,
        _END,
    ]
    for start in range(0, len(body), framing.max_payload):
        piece = body[start : start + framing.max_payload]
        parts += (_FRAME.pack(_BODY, framing.channel, len(piece)), piece, _END)
    return b"".join(parts)


def _body(outgoing: Outgoing) -> bytes:
    body = encode_body(outgoing.message)
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(
            f"message {outgoing.message_id}: {len(body)} bytes would be poison where they arrive"
        )
    return body


def _properties(outgoing: Outgoing, app_id: str, now: float) -> bytes:
    return b"".join(
        (
            _JSON,
            _headers(outgoing),
            _MODE.pack(2 if outgoing.persistent else 1),
            _short(outgoing.message_id),
            _SECONDS.pack(int(now)),
            _name(outgoing.message.TYPE),
            _name(app_id),
        )
    )


def _headers(outgoing: Outgoing) -> bytes:
    if not outgoing.headers and not outgoing.traceparent:
        return b""
    table: dict[str, Any] = {
        name: value
        for name, value in (outgoing.headers or {}).items()
        if not name.startswith("x-") and name not in _NOT_OURS
    }
    if outgoing.traceparent:
        table["traceparent"] = outgoing.traceparent
    return encode.field_table(table)


def _short(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 255:
        raise ValueError(f"{text[:40]!r}... is longer than 255 bytes")
    return bytes((len(raw),)) + raw


@lru_cache(maxsize=256)
def _name(text: str) -> bytes:
    return _short(text)


@lru_cache(maxsize=4096)
def _method_frame(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001 - positional for the cache
    _short(routing_key)
    method = commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return frame.marshal(method, channel)
