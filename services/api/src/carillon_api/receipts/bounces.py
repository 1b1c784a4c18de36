"""Mail that came back: delivery status notifications (RFC 3464) as mail servers send them.

Anybody can write such a mail, so it is believed only about deliveries whose reference it knows, and
suppresses only the address that the delivery went to.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.utils import parseaddr, parsedate_to_datetime
from typing import Final
from uuid import UUID

import structlog
from carillon_shared.domain.mail_status import is_lasting
from carillon_shared.domain.states import Reason, ReceiptState
from carillon_shared.domain.suppressions import SuppressionReason

from carillon_api.receipts.receipt import Failure, Receipt

PROVIDER: Final = "bounce"
"""What receipts from this way are named by."""

_MAX_ERROR: Final = 500
_MAX_RECIPIENTS: Final = 50
_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_MESSAGE_ID = re.compile(rf"<?({_UUID})@")
_RETURN_PATH = re.compile(rf"\+({_UUID})@")
_STATES = {"failed": ReceiptState.FAILED, "delivered": ReceiptState.DELIVERED}

log = structlog.get_logger(__name__)


def bounces_in(body: bytes) -> list[Receipt]:
    """Return what a mail reports. A mail that is no report, or about no delivery of ours, reports nothing."""
    try:
        report = message_from_bytes(body, policy=policy.default)
        return list(_receipts(report))
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("bounce cannot be read", size=len(body), reason=type(error).__name__)
        return []


def _receipts(report: EmailMessage) -> Iterator[Receipt]:
    status = next(
        (part for part in report.walk() if part.get_content_type() == "message/delivery-status"), None
    )
    returned = _returned_headers(report)
    delivery = _delivery(report, returned)
    if status is None or delivery is None:
        log.info("mail is no bounce of ours", is_report=status is not None)
        return
    blocks = status.get_payload()
    for block in list(blocks)[1 : _MAX_RECIPIENTS + 1]:  # the first is about the message
        receipt = _receipt(block, delivery, sent_to=_address(returned, "To"))
        if receipt is not None:
            yield receipt


def _receipt(block: Message, delivery: UUID, *, sent_to: str | None) -> Receipt | None:
    """Read the fields of one recipient. Delayed, relayed and expanded mail is still on its way."""
    state = _STATES.get(_field(block, "Action").lower())
    if state is None:
        return None
    failure = _failure(block, sent_to) if state is ReceiptState.FAILED else None
    return Receipt(delivery, str(delivery), state, at=_moment(block), failure=failure)


def _failure(block: Message, sent_to: str | None) -> Failure:
    found = _STATUS.search(_field(block, "Status"))
    code = found[0] if found else "5.0.0"
    diagnostic = _field(block, "Diagnostic-Code").removeprefix("smtp;").strip()
    lasting = is_lasting(code) or any(map(is_lasting, _STATUS.findall(diagnostic)))
    return Failure(
        Reason.INVALID_ADDRESS if lasting or code.startswith("5.1.") else Reason.PROVIDER_REJECTED,
        f"bounce_{code}",
        (diagnostic or code)[:_MAX_ERROR],
        SuppressionReason.BOUNCED if lasting else None,
        sent_to or _reported(block, "Original-Recipient") or _reported(block, "Final-Recipient"),
    )


def _delivery(report: Message, returned: Message | None) -> UUID | None:
    """Find our reference: in the headers that came back, else in the address that the bounce was sent to."""
    own = _field(returned, "X-Carillon-Delivery") if returned else ""
    found = re.fullmatch(_UUID, own) or (returned and _MESSAGE_ID.search(_field(returned, "Message-ID")))
    if found:
        return UUID(found[found.lastindex or 0])
    for name in ("To", "Delivered-To", "X-Original-To"):
        if found := _RETURN_PATH.search(_field(report, name)):
            return UUID(found[1])
    return None


def _returned_headers(report: Message) -> Message | None:
    for part in report.walk():
        kind = part.get_content_type()
        if kind == "message/rfc822" and part.is_multipart():
            inner = part.get_payload(0)
            return inner if isinstance(inner, Message) else None
        if kind in {"text/rfc822-headers", "message/rfc822-headers"}:
            content = part.get_payload(decode=True)
            return message_from_bytes(content, policy=policy.default) if isinstance(content, bytes) else None
    return None


def _field(message: Message, name: str) -> str:
    """Return a header as one line without what PostgreSQL cannot store."""
    text = " ".join(str(message.get(name, "")).replace("\0", "").split())
    return text.encode(errors="replace").decode()


def _address(message: Message | None, name: str) -> str | None:
    return parseaddr(_field(message, name))[1] or None if message else None


def _reported(block: Message, name: str) -> str | None:
    """Return the address of a typed field: `rfc822; anna@example.org`."""
    kind, _, address = _field(block, name).partition(";")
    return address.strip().strip("<>") or None if kind.strip().lower() in {"rfc822", "utf-8"} else None


def _moment(block: Message) -> datetime | None:
    try:
        moment = parsedate_to_datetime(_field(block, "Last-Attempt-Date"))
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None
