"""A message that came from the broker, and what is said back about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from struct import Struct
from typing import Any

# One method frame: type, channel, size | class, method, tag, bits | end. AMQP 0-9-1, 1.8.3.13 and .14.
_SETTLE = Struct(">BHIHHQBB")
_ACK, _REJECT = 80, 90
_SETTLE_SIZE, _FRAME_END = 13, 0xCE


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message as it arrived.

    `delivery_tag` means something only on the broker channel it came from, the `generation`-th that this
    subscription has had: whatever is settled for an older one is ignored, the broker sends it again.
    """

    body: bytes
    type: str | None
    message_id: str | None
    headers: Mapping[str, Any]
    exchange: str
    routing_key: str
    redelivered: bool
    published_at: datetime | None  # whole seconds, by the publisher's clock
    delivery_tag: int
    generation: int

    @property
    def delivery_count(self) -> int:
        """How often it was given back or lost with its consumer before (`x-delivery-count`)."""
        value = self.headers.get("x-delivery-count")
        return value if isinstance(value, int) else 0

    @property
    def traceparent(self) -> str | None:
        """W3C Trace Context of the publisher."""
        value = self.headers.get("traceparent")
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Settlements:
    """What one write tells the broker; tags of one channel.

    Rejections go first: `up_to` accepts everything below it that is still open.
    """

    up_to: int | None = None
    singles: tuple[int, ...] = ()
    dead_lettered: tuple[int, ...] = ()
    requeued: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.up_to or self.singles or self.dead_lettered or self.requeued)

    def frames(self, channel: int) -> bytes:
        """Return the frames of all of them, in a safe order."""
        parts = [_settle(channel, _REJECT, tag, bits=0) for tag in self.dead_lettered]
        parts += [_settle(channel, _REJECT, tag, bits=1) for tag in self.requeued]
        parts += [_settle(channel, _ACK, tag, bits=0) for tag in self.singles]
        if self.up_to is not None:
            parts.append(_settle(channel, _ACK, self.up_to, bits=1))
        return b"".join(parts)


def _settle(channel: int, method: int, tag: int, *, bits: int) -> bytes:
    return _SETTLE.pack(1, channel, _SETTLE_SIZE, 60, method, tag, bits, _FRAME_END)
