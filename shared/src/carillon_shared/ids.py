"""Identifiers: event ids are UUIDv7, delivery ids are derived from them.

A delivery id is a UUIDv8 (RFC 9562, section 5.8) laid out so that it can be computed from, and
taken apart into, its parts without a look-up::

    48 bits accept time in ms | 4 version | 12 bits fraction of the ms | 2 variant | 26 random bits
    | 32 bits subscriber number | 4 bits channel

Its first 23 hexadecimal digits are those of the event id (but for the version digit), so the
deliveries of one event are neighbours in the primary key, in fan-out order. The database computes
the same in `carillon.delivery_id`; a test holds the two together.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from carillon_shared.domain.channels import Channel, channel_of_number

_SHARED_DIGITS = 23
_MAX_SUBSCRIBER = 2**32 - 1


@dataclass(frozen=True, slots=True)
class DeliveryIdParts:
    """What a delivery id says by itself."""

    event_prefix: str  # the 23 hexadecimal digits shared with the event id, version digit as 8
    subscriber_number: int
    channel: Channel


def delivery_id(event_id: UUID, subscriber_number: int, channel: Channel) -> UUID:
    """Return the one id this delivery can ever have. Raises ``ValueError`` for a number beyond 32 bits."""
    if not 0 <= subscriber_number <= _MAX_SUBSCRIBER:
        raise ValueError(f"subscriber number {subscriber_number} does not fit 32 bits")
    return UUID(f"{_prefix(event_id)}{subscriber_number:08x}{channel.number:x}")


def delivery_id_range(event_id: UUID) -> tuple[UUID, UUID]:
    """Return the lowest and highest id a delivery of this event can have, both inclusive."""
    prefix = _prefix(event_id)
    return UUID(prefix + "0" * 9), UUID(prefix + "f" * 9)


def parts_of(delivery: UUID) -> DeliveryIdParts:
    """Take a delivery id apart. Raises ``KeyError`` when its channel bits mean nothing."""
    digits = delivery.hex
    return DeliveryIdParts(
        digits[:_SHARED_DIGITS], int(digits[23:31], 16), channel_of_number(int(digits[31], 16))
    )


def accepted_at(identifier: UUID) -> datetime:
    """Return the accept time, in whole milliseconds, that an event or delivery id begins with."""
    return datetime.fromtimestamp(accepted_seconds(identifier), UTC)


def accepted_seconds(identifier: UUID) -> float:
    """Return the same in Unix seconds."""
    return (identifier.int >> 80) / 1000  # the highest 48 of 128 bits


def _prefix(event_id: UUID) -> str:
    digits = event_id.hex
    return f"{digits[:12]}8{digits[13:_SHARED_DIGITS]}"
