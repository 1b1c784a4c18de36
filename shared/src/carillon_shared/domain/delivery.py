"""A delivery as a worker sees it: everything needed to send, read from the database when it is leased.

What is made for each single delivery is a named tuple: a frozen dataclass of as many fields takes four times
as long to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane


class Recipient(NamedTuple):
    """The subscriber at the moment of sending."""

    id: str  # the tenant's own id
    number: int
    email: str | None
    phone: str | None  # E.164
    locale: str | None  # BCP 47, None: the tenant's default
    time_zone: str | None  # IANA name, None: the tenant's default
    attributes: Mapping[str, Any] = MappingProxyType({})
    wrote_at: datetime | None = None  # when they last wrote to us over WhatsApp, if that was lately


@dataclass(frozen=True, slots=True)
class TenantProfile:
    """What messages of this tenant look like by default."""

    slug: str
    name: str
    default_locale: str = "en"
    default_time_zone: str = "UTC"
    sender_name: str | None = None
    sender_address: str | None = None
    reply_to: str | None = None
    brand: Mapping[str, Any] = field(default_factory=dict)  # colours, logo, whatever templates ask for


@dataclass(frozen=True, slots=True)
class EventContent:
    """The event, shared by all deliveries of a chunk."""

    id: UUID
    tenant: TenantProfile
    type: str
    category: str
    source: str
    subject: str | None
    time: datetime
    data: Mapping[str, Any]
    sender_name: str | None = None  # the event type's own, over the tenant's
    sender_address: str | None = None
    reply_to: str | None = None
    mandatory: bool = False  # its recipients cannot opt out
    timed: bool = False  # it was to wait, for a moment of its sender's choice
    renews: bool = False  # its feed items are those of an event that it has replaced

    def corrected(self, data: Mapping[str, Any] | None) -> "EventContent":
        """Return the event as it is for a delivery of which an operator corrected this data."""
        return replace(self, data={**self.data, **data}) if data else self


class LeasedDelivery(NamedTuple):
    """One delivery that this worker may send now, and nobody else until `lease_until`."""

    id: UUID
    event: EventContent
    recipient: Recipient
    channel: Channel
    lane: Lane
    attempt: int  # numbered from 1
    first_attempt_at: datetime
    templates: Mapping[str, Mapping[str, Any]]  # content by locale, of this event type and channel
