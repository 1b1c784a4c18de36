"""Makes the mail of a delivery."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final, NamedTuple

from carillon_shared.clock import Clock
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.delivery import LeasedDelivery
from email_validator import EmailNotValidError

from carillon_email_worker.address import deliverable_address
from carillon_email_worker.event_mail import EventMails, MailBody, Sender, render_body
from carillon_email_worker.mime import address_header, plain_header

__all__ = ["MailComposer", "OutgoingMail", "Sender", "UnsubscribeUrl", "recipient_of"]

UnsubscribeUrl = Callable[[LeasedDelivery], str | None]
"""Returns the one-click link of a delivery (RFC 8058), or None for mail nobody can unsubscribe from."""

# RFC 3834: keeps out-of-office replies away.
_AUTOMATIC: Final = plain_header("Auto-Submitted", "auto-generated")
# Some relays write a Message-ID of their own, so the delivery is named twice.
_DELIVERY: Final = plain_header("X-Carillon-Delivery", "{reference}")


class OutgoingMail(NamedTuple):
    """What an e-mail provider is handed."""

    reference: str  # the delivery's id
    sender: str  # envelope
    recipient: str  # envelope
    content: bytes  # RFC 5322 with CRLF line ends, without dot-stuffing
    needs_smtputf8: bool  # a local part is not ASCII (RFC 6531)


@dataclass(frozen=True, slots=True)
class MailComposer:
    """A `carillon_shared.delivery.provider.Composer` of mails."""

    sender: Sender  # when neither event type nor tenant has one
    message_id_domain: str
    clock: Clock
    unsubscribe_url: UnsubscribeUrl | None = None
    bounce_address: str | None = None  # where mail comes back to; None: to the sender
    _events: EventMails = field(init=False, repr=False, compare=False)
    _naming: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Let mails be rendered with their own links. Raises `ValueError` for a domain that is none."""
        domain = self.message_id_domain.replace("{", "{{").replace("}", "}}")
        naming = plain_header("Message-ID", f"<{{reference}}@{domain}>") + _DELIVERY
        object.__setattr__(self, "_naming", naming)
        object.__setattr__(self, "_events", EventMails(self._body) if self.unsubscribe_url else EventMails())

    def __call__(self, delivery: LeasedDelivery) -> OutgoingMail:
        """Return the mail of a delivery. Raises `ContentError` and `InvalidAddressError`."""
        recipient = recipient_of(delivery)
        shared = self._events.of(delivery, self.sender)
        body = shared.body(delivery)
        reference = str(delivery.id)
        headers = [
            shared.headers,
            address_header("To", recipient),
            body.subject,
            _date_header(int(self.clock.now().timestamp())),
            self._naming.format(reference=reference),
            _AUTOMATIC,
            *self._unsubscribe(delivery),
        ]
        return OutgoingMail(
            reference=reference,
            sender=self._return_path(reference) or shared.sender,
            recipient=recipient,
            content="".join(headers).encode() + body.content,
            needs_smtputf8=not (recipient.isascii() and shared.sender.isascii()),
        )

    def _return_path(self, reference: str) -> str | None:
        """Return the address that names the delivery (VERP), for mail that comes back without its headers."""
        if self.bounce_address is None:
            return None
        local_part, _, domain = self.bounce_address.rpartition("@")
        return f"{local_part}+{reference}@{domain}"

    def _body(self, delivery: LeasedDelivery) -> MailBody:
        url = self.unsubscribe_url(delivery) if self.unsubscribe_url else None
        return render_body(delivery, unsubscribe_url=url)

    def _unsubscribe(self, delivery: LeasedDelivery) -> list[str]:
        url = self.unsubscribe_url(delivery) if self.unsubscribe_url else None
        if not url:
            return []
        one_click = plain_header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
        return [plain_header("List-Unsubscribe", f"<{url}>"), one_click]


def recipient_of(delivery: LeasedDelivery) -> str:
    """Return the recipient's address as SMTP takes it. Raises `InvalidAddressError`."""
    try:
        return deliverable_address(delivery.recipient.email or "")
    except EmailNotValidError as error:
        raise InvalidAddressError("the subscriber's e-mail address is none") from error


@lru_cache(maxsize=2)
def _date_header(second: int) -> str:
    """Return the header of one moment, which thousands of mails may share."""
    return plain_header("Date", format_datetime(datetime.fromtimestamp(second, UTC)))
