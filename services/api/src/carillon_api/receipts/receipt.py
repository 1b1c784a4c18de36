"""Receipts, whoever they are from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason, ReceiptState
from carillon_shared.domain.suppressions import SuppressionReason


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an accepted message did not arrive. Without a `reason` the failure passes by itself.

    `suppress`: nor will any other message reach this address; `address` is where this one had been sent.
    """

    reason: Reason | None
    code: str
    error: str
    suppress: SuppressionReason | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider says about one message."""

    delivery: UUID | None  # our reference, where the provider repeats it
    message_id: str  # the provider's own reference
    state: ReceiptState
    at: datetime | None = None  # by the provider's clock
    phone: str | None = None  # E.164, of the recipient: finds the delivery when it is not named
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one request of a provider holds. Without a tenant, whosever deliveries the receipts name."""

    tenant_id: int | None
    channel: Channel
    provider: str  # as attempts name it
    receipts: Sequence[Receipt]
