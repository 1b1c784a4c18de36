"""A template rendered for a look at it, before anything is sent."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from carillon_shared.content.email_content import RenderedEmail, render_email
from carillon_shared.content.inapp_content import RenderedInapp, render_inapp
from carillon_shared.content.whatsapp_content import RenderedWhatsapp, render_whatsapp
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import EventContent, LeasedDelivery, Recipient, TenantProfile
from carillon_shared.domain.lanes import Lane

Rendered = RenderedEmail | RenderedInapp | RenderedWhatsapp

_NOBODY = Recipient("preview", 0, None, None, None, None)
_NO_ID = UUID(int=0)


def render(delivery: LeasedDelivery) -> Rendered:
    """Render a delivery by its channel. Raises `ContentError`."""
    match delivery.channel:
        case Channel.EMAIL:
            return render_email(delivery)
        case Channel.INAPP:
            return render_inapp(delivery)
        case Channel.WHATSAPP:
            return render_whatsapp(delivery)


def preview(  # what a preview shows is these things, each by its name
    *,
    channel: Channel,
    locale: str,
    content: Mapping[str, Any],
    event_type: str,
    data: Mapping[str, Any],
    tenant: TenantProfile,
    recipient: Recipient = _NOBODY,
    time: datetime | None = None,
) -> dict[str, Any]:
    """Render one template with given data and return its fields. Raises `ContentError`, as sending would."""
    event = EventContent(
        id=_NO_ID,
        tenant=tenant,
        type=event_type,
        category="",
        source="/preview",
        subject=None,
        time=time or datetime.now(UTC),
        data=data,
    )
    delivery = LeasedDelivery(
        id=_NO_ID,
        event=event,
        recipient=recipient,
        channel=channel,
        lane=Lane.NORMAL,
        attempt=1,
        first_attempt_at=event.time,
        templates={locale: content},
    )
    return asdict(render(delivery))
