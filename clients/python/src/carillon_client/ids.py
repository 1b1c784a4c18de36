"""Ids of events that were given none."""

import secrets
import time
from uuid import UUID


def new_id() -> str:
    """Return a UUID version 7 (RFC 9562, section 5.7): milliseconds of now, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random >> 62) << 64  # version
    value |= 0b10 << 62 | random & (1 << 62) - 1  # variant
    return str(UUID(int=value))
