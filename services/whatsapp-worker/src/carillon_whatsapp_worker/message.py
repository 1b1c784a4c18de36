"""Makes the Cloud API request of a delivery.

Shapes: Meta's OpenAPI document of the business messaging API, v23.0.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson
import phonenumbers
from carillon_shared.clock import Clock
from carillon_shared.content import ApprovedTemplate, RenderedWhatsapp, render_whatsapp
from carillon_shared.domain.addresses import InvalidAddressError
from carillon_shared.domain.delivery import LeasedDelivery


@dataclass(frozen=True, slots=True)
class OutgoingWhatsapp:
    """What a WhatsApp provider is handed."""

    reference: str  # the delivery's id
    recipient: str  # E.164, with its plus sign
    body: bytes  # the JSON of the request


WINDOW: Final = timedelta(hours=24)
"""How long after a person's last message Meta lets a business write free text to them."""


@dataclass(frozen=True, slots=True)
class WhatsappComposer:
    """A `carillon_shared.delivery.provider.Composer` of messages that keeps to the window of free text."""

    clock: Clock

    def __call__(self, delivery: LeasedDelivery) -> OutgoingWhatsapp:
        """Return the message of a delivery. Raises `ContentError` and `InvalidAddressError`."""
        wrote_at = delivery.recipient.wrote_at
        within = wrote_at is not None and self.clock.now() - wrote_at < WINDOW
        return compose_whatsapp(delivery, free_text=within)


def compose_whatsapp(delivery: LeasedDelivery, *, free_text: bool = True) -> OutgoingWhatsapp:
    """Return the message of a delivery. Raises `ContentError` and `InvalidAddressError`."""
    recipient = recipient_of(delivery)
    body = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": recipient,
        **_content(render_whatsapp(delivery, free_text=free_text)),
        "biz_opaque_callback_data": str(delivery.id),  # comes back in every receipt
    }
    return OutgoingWhatsapp(str(delivery.id), recipient, orjson.dumps(body))


def recipient_of(delivery: LeasedDelivery) -> str:
    """Return the recipient's number as E.164. Raises `InvalidAddressError`.

    Only the form is judged: whether a number of the right length is in use, Meta knows better than a table.
    """
    try:
        number = phonenumbers.parse(delivery.recipient.phone or "", None)
    except phonenumbers.NumberParseException as error:
        raise InvalidAddressError("the subscriber's phone number is none") from error
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible != phonenumbers.ValidationResult.IS_POSSIBLE:  # one within a town only is none either
        raise InvalidAddressError("the subscriber's phone number has an impossible length")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _content(rendered: RenderedWhatsapp) -> dict[str, Any]:
    if rendered.template is not None:
        return {"type": "template", "template": _template(rendered.template)}
    return {"type": "text", "text": {"preview_url": False, "body": rendered.text}}


def _template(template: ApprovedTemplate) -> dict[str, Any]:
    request: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    if template.parameters:
        texts = [{"type": "text", "text": text} for text in template.parameters]
        request["components"] = [{"type": "body", "parameters": texts}]
    return request
