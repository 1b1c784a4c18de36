"""What the service says of events and deliveries.

States, reasons and channels are texts: a later service may know more of them than this version does.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_client.call import Answer


class Accepted(Answer):
    """An event that is committed: it will be delivered, or say why not."""

    id: UUID
    """Carillon's own id of the event, for `events.get`."""
    status: str
    """`accepted`, `scheduled`, or `pending_approval`."""
    duplicate: bool
    """True when the same event had been accepted before: this time nothing was done."""


class Progress(Answer):
    """How far an event's deliveries have come."""

    total: int
    by_status: Mapping[str, int]
    percent: float


class Cancelled(Answer):
    """What cancelling an event came to."""

    stopped: int
    already_sent: int
    in_flight: int
    unplanned: int


class StoredEvent(Answer):
    """An event as it is kept."""

    id: UUID
    type: str
    source: str
    external_id: str
    """The producer's own id."""
    subject: str | None
    time: datetime
    status: str
    category: str
    priority: str
    channels: tuple[str, ...]
    audience: Mapping[str, Any]
    actor: str | None
    accepted_at: datetime
    deliver_at: datetime | None
    expires_at: datetime | None
    cancelled_at: datetime | None
    collapse_key: str | None
    replaced_by: UUID | None


class EventDetail(StoredEvent):
    """An event with its payload and its progress."""

    data: Mapping[str, Any]
    plan_error: str | None
    progress: Progress
    cancellation: Cancelled | None


class Attempt(Answer):
    """One try to hand a delivery to a provider."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    provider: str
    code: str | None
    error: str | None
    stack: str | None


class Receipt(Answer):
    """What the provider said later."""

    state: str
    message_id: str
    at: datetime | None
    received_at: datetime
    code: str | None
    error: str | None


class Delivery(Answer):
    """One event to one person over one channel."""

    id: UUID
    event_id: UUID
    subscriber: str
    channel: str
    status: str
    reason: str | None
    hold_reason: str | None
    attempt: int
    next_attempt_at: datetime | None
    provider: str | None
    provider_id: str | None
    created_at: datetime
    updated_at: datetime
    attempts: tuple[Attempt, ...]
    receipts: tuple[Receipt, ...]


class DeliveryCancelled(Answer):
    """What has become of a delivery that was to be cancelled."""

    id: UUID
    status: str


class Decided(Answer):
    """An event that waited for approval and does no longer."""

    id: UUID
    status: str


class SignalAccepted(Answer):
    """The broker has it; who is connected sees it now."""

    status: str
