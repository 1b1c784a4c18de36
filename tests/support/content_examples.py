"""Deliveries for the content tests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import EventContent, LeasedDelivery, Recipient, TenantProfile
from carillon_shared.domain.lanes import Lane
from carillon_shared.ids import delivery_id

EVENT_ID = UUID("0199a000-0000-7000-8000-0000000000aa")
TIME = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
TENANT = TenantProfile(
    slug="acme", name="Acme & Sons", sender_name="Acme", sender_address="hello@acme.example"
)
BAT = Recipient("u-7", 7, "bat@example.org", "+97699112233", "mn-MN", "Asia/Ulaanbaatar", {"name": "Bat"})


def event(data: Mapping[str, Any] | None = None, **changes: Any) -> EventContent:
    fields: dict[str, Any] = {
        "id": EVENT_ID,
        "tenant": TENANT,
        "type": "ticket.status_changed",
        "category": "tickets",
        "source": "/helpdesk",
        "subject": "ticket/42",
        "time": TIME,
        "data": data or {},
    }
    return EventContent(**(fields | changes))


def delivery(
    channel: Channel,
    content: Mapping[str, Any] | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    recipient: Recipient = BAT,
    templates: Mapping[str, Mapping[str, Any]] | None = None,
    **event_changes: Any,
) -> LeasedDelivery:
    by_locale = {"en": content} if content is not None else {}
    return LeasedDelivery(
        id=delivery_id(EVENT_ID, recipient.number, channel),
        event=event(data, **event_changes),
        recipient=recipient,
        channel=channel,
        lane=Lane.NORMAL,
        attempt=1,
        first_attempt_at=TIME,
        templates=templates if templates is not None else by_locale,
    )
