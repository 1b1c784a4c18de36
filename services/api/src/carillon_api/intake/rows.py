"""An event as it is handed to the database, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class Key(NamedTuple):
    """What makes an event the same event."""

    tenant_id: int
    source: str
    id: str


@dataclass(frozen=True, slots=True)
class IntakeRow:
    """One event, complete. Texts that are JSON are ready to be stored."""

    key: Key
    body_hash: bytes  # of the body as it came, before defaults
    tenant: str
    type: str
    category: str
    lane: str
    channels: str  # as PostgreSQL writes an array
    subject: str | None
    time: datetime | None
    data: str  # JSON
    audience: str  # JSON
    inline_users: str | None  # JSON
    actor: str | None
    deliver_at: datetime | None
    expires_at: datetime | None
    traceparent: str | None
    throttle: str | None  # JSON
    needs_approval: bool = False
    collapse_key: str | None = None
    on_conflict: str | None = None  # what becomes of the earlier event, if there is a key


class Result(StrEnum):
    """What the database did with a row."""

    ACCEPTED = "accepted"  # stored now
    DUPLICATE = "duplicate"  # stored before, with the same body
    CONFLICT = "conflict"  # stored before, with another body
    THROTTLED = "throttled"  # its type refuses it now
    COLLAPSED = "collapsed"  # an earlier event with its collapse key is not completed
    BUSY = "busy"  # one that it replaces is being planned: at once again
    REFUSED = "refused"  # holds something that cannot be stored


@dataclass(frozen=True, slots=True)
class Stored:
    """The database's answer for one row. `event_id` may be that of an earlier event, which is in its way."""

    result: Result
    event_id: UUID | None = None
