"""WhatsApp messages that were accepted, as the phones show them."""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from carillon_mock_providers.ring import RecipientRing, SourceWindow, iso_time
from carillon_mock_providers.whatsapp_messages import MessageRequest
from carillon_mock_providers.whatsapp_templates import Templates


@dataclass(slots=True)
class PhoneMessage:
    """One accepted message; `source` is the request's JSON and goes when the message is old."""

    n: int
    received_at: float
    recipients: tuple[str, ...]
    message_id: str
    phone_number_id: str
    kind: str
    callback_data: str | None
    source: bytes | None
    statuses: list[tuple[str, float]] = field(default_factory=list)


class Phones:
    """All messages on all phones."""

    def __init__(self, *, records: int, sources: int) -> None:
        self.log: RecipientRing[PhoneMessage] = RecipientRing(records)
        self.revision = 0
        self._sources: SourceWindow[PhoneMessage] = SourceWindow(sources, _drop_source)

    def add(self, request: MessageRequest, *, message_id: str, phone_number_id: str) -> PhoneMessage:
        """Keeps one accepted message."""
        message = PhoneMessage(
            n=self.log.next_number(),
            received_at=time.time(),
            recipients=(request.wa_id,),
            message_id=message_id,
            phone_number_id=phone_number_id,
            kind=request.kind,
            callback_data=request.callback_data,
            source=request.source,
        )
        self.log.append(message)
        self._sources.append(message)
        return message

    def mark(self, message: PhoneMessage, status: str) -> None:
        """Notes a status that was reported to the sender."""
        message.statuses.append((status, time.time()))
        self.revision += 1

    def clear(self) -> int:
        """Forgets all messages; returns how many there were."""
        self._sources.clear()
        return self.log.clear()


def message_view(message: PhoneMessage, templates: Templates) -> dict[str, Any]:
    """A message as JSON values; body, template and request are None when the source is no longer kept."""
    request = orjson.loads(message.source) if message.source is not None else None
    content = request or {}
    template = content.get("template")
    return {
        "n": message.n,
        "id": message.message_id,
        "to": message.recipients[0],
        "type": message.kind,
        "body": (content.get("text") or {}).get("body") if template is None else templates.rendered(template),
        "template": template,
        "biz_opaque_callback_data": message.callback_data,
        "phone_number_id": message.phone_number_id,
        "received_at": iso_time(message.received_at),
        "statuses": [{"status": status, "at": iso_time(at)} for status, at in message.statuses],
        "request": request,
    }


def _drop_source(message: PhoneMessage) -> None:
    message.source = None
