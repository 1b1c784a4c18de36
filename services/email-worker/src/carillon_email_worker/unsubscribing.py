"""The link in a mail with which its recipient leaves."""

from dataclasses import dataclass, field

from carillon_shared.content.builtin import DIGEST
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.unsubscribe import MailingOf, sign_mailing


@dataclass(frozen=True, slots=True)
class UnsubscribeLinks:
    """Makes links to the API's page. Mandatory mail has none: it would arrive all the same."""

    public_url: str  # where people reach the API
    secret: bytes = field(repr=False)

    def __call__(self, delivery: LeasedDelivery) -> str | None:
        """Return the link of a delivery (RFC 8058), or None."""
        event = delivery.event
        if event.mandatory:
            return None
        # A digest of one type is left as that type is; one of many has no category to leave.
        kind = event.data.get("type", DIGEST) if event.type == DIGEST else event.type
        mailing = MailingOf(
            event.tenant.slug, delivery.recipient.number, delivery.channel, event.category, kind
        )
        return f"{self.public_url.rstrip('/')}/v1/unsubscribe/{sign_mailing(mailing, self.secret)}"
