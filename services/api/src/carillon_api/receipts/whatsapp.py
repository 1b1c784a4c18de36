"""Status webhooks of the WhatsApp Cloud API: their signature and their shape.

Sources: Meta's pages "Webhooks > Getting started" (verification, `X-Hub-Signature-256`) and "Webhooks >
Components" (`statuses`).
"""

import hashlib
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from carillon_shared.domain.states import ReceiptState
from carillon_shared.domain.whatsapp_codes import SUPPRESSING, failure_reason
from pydantic import BaseModel, Field, ValidationError

from carillon_api.receipts.receipt import Failure, Receipt

PROVIDER: Final = "cloud_api"
"""The name that attempts over this API carry."""

_PREFIX: Final = "sha256="
_MAX_ERROR: Final = 500
_UNNAMED_FAILURE: Final = 131000  # Meta's own "something went wrong"

log = structlog.get_logger(__name__)


class _Details(BaseModel):
    details: str | None = None


class _Error(BaseModel):
    code: int
    title: str | None = None
    message: str | None = None
    error_data: _Details | None = None


class _Status(BaseModel):
    id: str = Field(min_length=1, max_length=500)
    status: ReceiptState
    timestamp: float | None = None  # Unix time in seconds, which Meta writes as a string
    recipient_id: str | None = Field(default=None, max_length=40)
    biz_opaque_callback_data: str | None = None
    errors: list[_Error] = []


def is_signed(body: bytes, signature: str, *, app_secret: str) -> bool:
    """Tell whether whoever sent this body knows the app's secret. `signature` as the header has it."""
    expected = _PREFIX + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().encode())


def receipts_in(body: bytes) -> list[Receipt]:
    """Return the receipts in a webhook's body. Whatever else it holds, or is, is passed over."""
    return [receipt for status in listed_in(body, "statuses") if (receipt := _receipt(status)) is not None]


def listed_in(body: bytes, *names: str) -> Iterator[Any]:
    """Walk entries, changes and values; none of these levels is taken for granted."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        log.warning("webhook is not JSON", size=len(body))
        return
    for entry in _listed(document, "entry"):
        for change in _listed(entry, "changes"):
            value = change.get("value") if isinstance(change, dict) else None
            for name in names:
                yield from _listed(value, name)


def _listed(parent: Any, name: str) -> list[Any]:
    children = parent.get(name) if isinstance(parent, dict) else None
    return children if isinstance(children, list) else []


def _receipt(raw: Any) -> Receipt | None:
    try:
        status = _Status.model_validate(raw)
    except ValidationError as error:  # of a kind that came after this was written
        log.info("status passed over", faults=error.error_count())
        return None
    delivery = None
    if status.biz_opaque_callback_data is not None:
        try:
            delivery = UUID(status.biz_opaque_callback_data)
        except ValueError:
            return None  # somebody else sends from this number too
    return Receipt(
        delivery=delivery,
        message_id=_text(status.id),
        state=status.status,
        at=_moment(status.timestamp),
        phone=f"+{_text(status.recipient_id.lstrip('+'))}" if status.recipient_id else None,
        failure=_failure(status) if status.status is ReceiptState.FAILED else None,
    )


def _failure(status: _Status) -> Failure:
    error = status.errors[0] if status.errors else _Error(code=_UNNAMED_FAILURE)
    details = error.error_data.details if error.error_data else None
    text = " - ".join(part for part in (error.title or error.message, details) if part)
    return Failure(
        failure_reason(error.code),
        f"whatsapp_{error.code}",
        _text(text)[:_MAX_ERROR],
        SUPPRESSING.get(error.code),
    )


def _moment(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _text(words: str) -> str:
    """Take out the one character that PostgreSQL cannot store."""
    return words.replace("\0", "")
