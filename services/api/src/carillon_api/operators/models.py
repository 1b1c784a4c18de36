"""What operators see and ask for."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import DeliveryStatus, Reason
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from carillon_api.deliveries.models import Attempt
from carillon_api.intake.timestamps import Timestamp
from carillon_api.operators.overrides import Overrides

MAX_RATE = 10_000
DEFAULT_RATE = 250
MAX_IDS = 100

Word = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00]*$")]
Why = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class DeadLetter(BaseModel):
    """A delivery that will not be tried again without a person."""

    id: UUID = Field(description="The delivery's id.")
    event_id: UUID
    event_type: str
    subscriber: str
    channel: Channel
    address: str | None = Field(description="Where it was to go, masked.")
    reason: Reason
    provider: str | None
    code: str | None = Field(description="The provider's code for the last error.")
    error: str | None = Field(description="The last error.")
    attempt: int = Field(description="Attempts made.")
    dead_at: datetime
    age_seconds: float
    attempts: list[Attempt]


class DeadLetterPreview(BaseModel):
    """What a dead letter would say if it were sent again now; addresses are masked."""

    rendered: dict[str, Any] | None = Field(description="The rendered template, by field.")
    error: str | None = Field(description="Why it cannot be rendered.")


class DeadLetterDetail(DeadLetter):
    """One dead letter, and what it would say."""

    preview: DeadLetterPreview | None = Field(description="None when its event is no longer kept.")


class DeadLetterCount(BaseModel):
    """How many dead letters match, by reason."""

    total: int
    by_reason: dict[str, int]


class DeadLetterSelection(BaseModel):
    """Which dead letters; everything given must hold."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel | None = None
    event_type: Word | None = None
    reason: Reason | None = None
    provider: Word | None = None
    since: Timestamp | None = Field(default=None, description="Dead at this time or later.")
    until: Timestamp | None = Field(default=None, description="Dead before this time.")
    ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=MAX_IDS, description="These deliveries only."
    )

    def chosen(self) -> dict[str, Any]:
        """Return what is given, as it is stored."""
        return self.model_dump(mode="json", exclude_none=True)


class OperationRequest(BaseModel):
    """Replay or discard many dead letters."""

    model_config = ConfigDict(extra="forbid")

    filter: DeadLetterSelection = DeadLetterSelection()
    all: bool = Field(default=False, description="Needed where the filter is empty.")
    dry_run: bool = Field(default=False, description="Only tell what would happen.")
    rate_per_second: int = Field(default=DEFAULT_RATE, ge=1, le=MAX_RATE)
    reason: Why | None = Field(default=None, description="Why, for the audit. Only a dry run needs none.")

    @model_validator(mode="after")
    def _is_meant(self) -> Self:
        if not self.filter.chosen() and not self.all:
            raise ValueError('an empty filter means everything: say so with "all": true')
        if self.reason is None and not self.dry_run:
            raise ValueError("a reason is needed")
        return self


class ReplayRequest(OperationRequest):
    """Replay many dead letters, or a few with corrections."""

    overrides: Overrides | None = Field(
        default=None,
        description="Needs `filter.ids`. Kept for later replays, and audited with the old values.",
    )

    @model_validator(mode="after")
    def _corrects_few(self) -> Self:
        if self.overrides is None:
            return self
        if self.filter.ids is None:
            raise ValueError("overrides are only for deliveries named in filter.ids")
        if self.overrides.address is not None and len(self.filter.ids) > 1:
            raise ValueError("an address is for exactly one delivery")
        return self


class ReconcileRequest(BaseModel):
    """Compare the dead queues with the dead letters."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel | None = Field(default=None, description="This channel's queue only.")
    dry_run: bool = Field(default=False, description="Only tell what differs.")
    reason: Why = Field(default="reconcile", description="Why, for the audit.")


class QueueReport(BaseModel):
    """How a dead queue and the dead letters differed. Counts this tenant's; what is mended, is for all."""

    agreed: int = Field(description="Dead letters with their copy.")
    stale: int = Field(description="Copies without their dead letter: removed.")
    duplicate: int = Field(description="Second copies: removed.")
    missing: int = Field(description="Dead letters without their copy: published.")


class OperationStarted(BaseModel):
    """The operation is stored and will be carried out."""

    operation_id: UUID
    matched: int = Field(description="Dead letters in the filter now.")


class DryRun(BaseModel):
    """What an operation would do now; nothing was changed."""

    matched: int
    acted: int = Field(description="How many would be replayed, or discarded.")
    skipped: dict[str, int] = Field(description="How many would stay dead, by reason.")
    complete: bool = Field(description="False: only the oldest were looked at, there are too many.")


class OperationKind(StrEnum):
    """What an operation does."""

    REPLAY = "replay"
    DISCARD = "discard"
    RECONCILE = "reconcile"


class OperationStatus(StrEnum):
    """How far an operation is."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  # by an operator
    FAILED = "failed"  # by an error, which it tells


class Operation(BaseModel):
    """A replay, discard or reconciliation and its progress."""

    id: UUID
    kind: OperationKind
    status: OperationStatus
    filter: dict[str, Any]
    overrides: dict[str, Any] | None = Field(description="What was put right; addresses are masked.")
    reason: str
    actor: str
    rate_per_second: int
    matched: int = Field(description="Dead letters in the filter when it began.")
    acted: int = Field(description="How many were replayed, discarded, or mended.")
    skipped: dict[str, int] = Field(
        description="How many stay dead, by reason; `no_longer_dead`: another operation was there first."
    )
    dry_run: bool = Field(description="For a reconciliation: nothing is mended.")
    report: dict[Channel, QueueReport] | None = Field(description="For a reconciliation: by channel.")
    percent: float
    error: str | None
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class DeliveryCommand(BaseModel):
    """Retry or cancel one delivery."""

    model_config = ConfigDict(extra="forbid")

    reason: Why | None = Field(default=None, description="Why, for the audit.")


class DeliveryCancelled(BaseModel):
    """What has become of a delivery that was to be cancelled."""

    id: UUID
    status: DeliveryStatus


class AuditEntry(BaseModel):
    """Who did what, when and why."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    reason: str | None
    details: dict[str, Any]
