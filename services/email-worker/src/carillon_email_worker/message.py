"""Makes the mail of a delivery."""

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import format_datetime
from functools import lru_cache

from carillon_shared.clock import Clock
from carillon_shared.content import ContentError, render_email
from carillon_shared.content.scope import one_line
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.delivery import EventContent, LeasedDelivery
from email_validator import EmailNotValidError

from carillon_email_worker.address import validate_address, wire_address
from carillon_email_worker.mime import address_header, mail_bytes, plain_header, text_header

UnsubscribeUrl = Callable[[LeasedDelivery], str | None]
"""Returns the one-click link of a delivery (RFC 8058), or None for mail nobody can unsubscribe from."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom a mail is from."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class OutgoingMail:
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

    def __call__(self, delivery: LeasedDelivery) -> OutgoingMail:
        """Return the mail of a delivery. Raises `ContentError` and `InvalidAddressError`."""
        recipient = recipient_of(delivery)
        sender = self._sender(delivery.event)
        rendered = render_email(delivery)
        headers = self._headers(delivery, sender, recipient, rendered.subject)
        return OutgoingMail(
            reference=str(delivery.id),
            sender=sender.address,
            recipient=recipient,
            content=mail_bytes(headers, text=rendered.text, html=rendered.html),
            needs_smtputf8=not (recipient.isascii() and sender.address.isascii()),
        )

    def _headers(self, delivery: LeasedDelivery, sender: Sender, recipient: str, subject: str) -> list[str]:
        return [
            address_header("From", sender.name, sender.address),
            address_header("To", "", recipient),
            *_reply_to(delivery.event),
            text_header("Subject", subject),
            plain_header("Date", format_datetime(self.clock.now())),
            plain_header("Message-ID", f"<{delivery.id}@{self.message_id_domain}>"),
            plain_header("Auto-Submitted", "auto-generated"),  # RFC 3834: keeps out-of-office replies away
            plain_header("X-Carillon-Delivery", str(delivery.id)),  # some relays write their own Message-ID
            *self._unsubscribe(delivery),
        ]

    def _unsubscribe(self, delivery: LeasedDelivery) -> list[str]:
        url = self.unsubscribe_url(delivery) if self.unsubscribe_url else None
        if not url:
            return []
        one_click = plain_header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
        return [plain_header("List-Unsubscribe", f"<{url}>"), one_click]

    def _sender(self, event: EventContent) -> Sender:
        tenant = event.tenant
        own = event.sender_address or tenant.sender_address
        name = event.sender_name or tenant.sender_name or (tenant.name if own else self.sender.name)
        return Sender(one_line(name), _configured_address(own or self.sender.address, "sender"))


def recipient_of(delivery: LeasedDelivery) -> str:
    """Return the recipient's address as SMTP takes it. Raises `InvalidAddressError`."""
    try:
        return wire_address(validate_address(delivery.recipient.email or ""))
    except EmailNotValidError as error:
        raise InvalidAddressError("the subscriber's e-mail address is none") from error


def _reply_to(event: EventContent) -> list[str]:
    address = event.reply_to or event.tenant.reply_to
    return [address_header("Reply-To", "", _configured_address(address, "reply-to"))] if address else []


@lru_cache(maxsize=1_024)
def _configured_address(address: str, what: str) -> str:
    try:
        return wire_address(validate_address(address))
    except EmailNotValidError as error:
        raise ContentError(f"the {what} address of the tenant or event type is no e-mail address") from error
