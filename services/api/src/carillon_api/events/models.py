"""An event as it is shown."""

from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import DeliveryStatus, EventStatus
from pydantic import BaseModel, Field


class Progress(BaseModel):
    """How far an event's deliveries have come."""

    total: int = Field(description="Deliveries planned so far.")
    by_status: dict[DeliveryStatus, int]
    percent: float = Field(description="Share of `total` that has come to rest, 0 to 100.")


class Event(BaseModel):
    """An event."""

    id: UUID
    type: str
    source: str
    external_id: str = Field(description="The producer's own id, or the one it was given.")
    subject: str | None
    time: datetime
    status: EventStatus
    category: str
    priority: Lane
    channels: list[Channel]
    audience: dict[str, Any]
    actor: str | None
    accepted_at: datetime
    deliver_at: datetime | None
    expires_at: datetime | None
    cancelled_at: datetime | None
    collapse_key: str | None
    replaced_by: UUID | None = Field(
        description="The later event of the same collapse key that cancelled it."
    )


class Cancelled(BaseModel):
    """What cancelling an event came to. With what was skipped or has failed, it adds up to the audience."""

    stopped: int = Field(description="Deliveries that will not be sent.")
    already_sent: int = Field(description="Deliveries that had left before.")
    in_flight: int = Field(
        description="Deliveries that are with a provider now; `GET` shows how they end: sent, or stopped."
    )
    unplanned: int = Field(description="Deliveries, people by channels, that were never planned.")


class EventDetail(Event):
    """An event with its payload and its progress."""

    data: dict[str, Any]
    plan_error: str | None = Field(description="Why planning its audience has failed so far, if it has.")
    progress: Progress
    cancellation: Cancelled | None = Field(description="What cancelling has come to, when it was cancelled.")
