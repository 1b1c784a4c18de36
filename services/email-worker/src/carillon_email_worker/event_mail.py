"""What the mails of one event have in common: a broadcast's sender and, mostly, its whole content."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from carillon_shared.content import ContentError, RenderPlan, render_email
from carillon_shared.content.scope import one_line
from carillon_shared.domain.delivery import EventContent, LeasedDelivery
from email_validator import EmailNotValidError

from carillon_email_worker.address import validate_address, wire_address
from carillon_email_worker.mime import address_header, mail_bytes, named_address_header, text_header

_MAX_EVENTS: Final = 32


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom a mail is from."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class MailBody:
    """A rendered mail without what is the recipient's own."""

    subject: str  # header line
    content: bytes  # MIME headers and parts


def render_body(delivery: LeasedDelivery, *, unsubscribe_url: str | None = None) -> MailBody:
    """Render a mail. Raises `ContentError`."""
    rendered = render_email(delivery, unsubscribe_url=unsubscribe_url)
    return MailBody(
        text_header("Subject", rendered.subject), mail_bytes([], text=rendered.text, html=rendered.html)
    )


RenderBody = Callable[[LeasedDelivery], MailBody]


@dataclass(slots=True)
class EventMail:
    """Sender and bodies of one event's mails."""

    event: EventContent
    templates: Mapping[str, Mapping[str, Any]]
    sender: str  # envelope address
    headers: str  # From and Reply-To
    body: RenderBody


class EventMails:
    """The events whose mails were made last.

    What an event's mails share is found when it comes a second time: most events are for one person, and
    looking for it would cost them more than it could save.
    """

    def __init__(self, render: RenderBody = render_body) -> None:
        self._render = render
        self._known: OrderedDict[UUID, EventMail] = OrderedDict()

    def of(self, delivery: LeasedDelivery, fallback: Sender) -> EventMail:
        """Return what the mails of this delivery's event share. Raises `ContentError`."""
        event = delivery.event
        known = self._known.get(event.id)
        if known is not None and known.event is event and known.templates is delivery.templates:
            if known.body is self._render:
                known.body = RenderPlan(self._render)
            return known
        made = _event_mail(delivery, fallback, self._render)
        self._known[event.id] = made
        if len(self._known) > _MAX_EVENTS:
            self._known.popitem(last=False)
        return made


def _event_mail(delivery: LeasedDelivery, fallback: Sender, render: RenderBody) -> EventMail:
    event, tenant = delivery.event, delivery.event.tenant
    own = event.sender_address or tenant.sender_address
    name = event.sender_name or tenant.sender_name or (tenant.name if own else fallback.name)
    address = _configured_address(own or fallback.address, "sender")
    reply_to = event.reply_to or tenant.reply_to
    headers = named_address_header("From", one_line(name), address)
    if reply_to:
        headers += address_header("Reply-To", _configured_address(reply_to, "reply-to"))
    return EventMail(event, delivery.templates, address, headers, render)


@lru_cache(maxsize=1_024)
def _configured_address(address: str, what: str) -> str:
    try:
        return wire_address(validate_address(address))
    except EmailNotValidError as error:
        raise ContentError(f"the {what} address of the tenant or event type is no e-mail address") from error
