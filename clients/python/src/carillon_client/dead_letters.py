"""Deliveries that will not be tried again without a person, and what is done about many of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_client.answers import Attempt
from carillon_client.call import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters; everything given must hold. One without anything means all of them."""

    channel: str | None = None
    event_type: str | None = None
    reason: str | None = None
    provider: str | None = None
    since: datetime | None = None
    """Dead at this time or later."""
    until: datetime | None = None
    """Dead before this time."""
    ids: Sequence[UUID | str] | None = None
    """These deliveries only. Not for lists and counts."""

    def chosen(self) -> dict[str, Any]:
        """Return what is given."""
        given = {
            "channel": self.channel,
            "event_type": self.event_type,
            "reason": self.reason,
            "provider": self.provider,
            "since": self.since,
            "until": self.until,
            "ids": None if self.ids is None else [str(one) for one in self.ids],
        }
        return {name: value for name, value in given.items() if value is not None}


class DeadLetter(Answer):
    """A delivery that will not be tried again without a person."""

    id: UUID
    event_id: UUID
    event_type: str
    subscriber: str
    channel: str
    address: str | None
    """Where it was to go, masked."""
    reason: str
    provider: str | None
    code: str | None
    error: str | None
    attempt: int
    dead_at: datetime
    age_seconds: float
    attempts: tuple[Attempt, ...]


class DeadLetterPreview(Answer):
    """What it would say if it were sent again now; addresses are masked."""

    rendered: Mapping[str, Any] | None
    error: str | None
    """Why it cannot be rendered."""


class DeadLetterDetail(DeadLetter):
    """One dead letter, and what it would say."""

    preview: DeadLetterPreview | None
    """None when its event is no longer kept."""


class DeadLetterCount(Answer):
    """How many match, by reason."""

    total: int
    by_reason: Mapping[str, int]


class OperationStarted(Answer):
    """It is stored and will be carried out; follow it with `operations.get`."""

    operation_id: UUID
    matched: int


class DryRun(Answer):
    """What an operation would do now; nothing was changed."""

    matched: int
    acted: int
    skipped: Mapping[str, int]
    """How many would stay dead, by reason."""
    complete: bool
    """False: there are too many, only the oldest were looked at."""


class Operation(Answer):
    """A replay or discard and its progress."""

    id: UUID
    kind: str
    status: str
    """`running`, `done`, `stopped`, or `failed`."""
    filter: Mapping[str, Any]
    overrides: Mapping[str, Any] | None
    reason: str
    actor: str
    rate_per_second: int
    matched: int
    acted: int
    skipped: Mapping[str, int]
    dry_run: bool
    report: Mapping[str, Any] | None
    percent: float
    error: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
