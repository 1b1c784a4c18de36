"""A delivery as it is shown."""

from datetime import datetime
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import DeliveryStatus, HoldReason, Reason, ReceiptState
from pydantic import BaseModel, Field


class Attempt(BaseModel):
    """One try to hand a delivery to a provider."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str = Field(description="`sent`, `retry`, `undeliverable`, `rejected` or `unknown`.")
    provider: str
    code: str | None
    error: str | None
    stack: str | None = Field(description="For faults of our own.")


class Receipt(BaseModel):
    """What the provider said later about a message of this delivery."""

    state: ReceiptState
    message_id: str = Field(description="The provider's own reference.")
    at: datetime | None = Field(description="By the provider's clock.")
    received_at: datetime
    code: str | None
    error: str | None


class Delivery(BaseModel):
    """One event to one person over one channel."""

    id: UUID
    event_id: UUID
    subscriber: str
    channel: Channel
    status: DeliveryStatus
    reason: Reason | None
    hold_reason: HoldReason | None
    attempt: int = Field(description="Attempts made so far.")
    next_attempt_at: datetime | None
    provider: str | None
    provider_id: str | None = Field(description="The provider's own reference.")
    created_at: datetime
    updated_at: datetime
    attempts: list[Attempt]
    receipts: list[Receipt]
