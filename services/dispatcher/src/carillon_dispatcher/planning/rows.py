"""What planning made of an event, as the database tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import DeliveryStatus


class Verdict(StrEnum):
    """What may be done with an event or a range now; see `carillon.plan_verdict`."""

    PLANNED = "planned"  # it has its rows now
    PUBLISH = "publish"  # it had its rows before, and their messages may be missing
    LARGE = "large"  # its audience must be cut into ranges first
    RANGES = "ranges"  # its audience was cut
    PUBLISHED = "published"  # nothing is left to do
    STOPPED = "stopped"  # cancelled, rejected, expired, or not approved
    EXPIRED = "expired"  # its time has passed before it was planned
    EARLY = "early"  # not before its `deliver_at`
    MISSING = "missing"  # there is no such event or range


READY = frozenset({Verdict.PLANNED, Verdict.PUBLISH})
"""Rows are there and wait for their messages."""


@dataclass(frozen=True, slots=True)
class Span:
    """The subscribers of an event with lo < number <= hi."""

    event_id: UUID
    lo: int = 0
    hi: int = 2**32 - 1


@dataclass(frozen=True, slots=True)
class RangeKey:
    """One range of an event's audience."""

    event_id: UUID
    n: int


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """Rows of one event and channel in one state; `ids` only of those that wait for a message, ascending."""

    event_id: UUID
    tenant: str
    traceparent: str | None
    channel: Channel
    lane: Lane
    status: DeliveryStatus
    total: int
    ids: Sequence[UUID]
