"""What the Cloud API's answers mean.

Source: Meta's page "Cloud API error codes". It asks clients to go by the code, not by the status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.whatsapp_codes import (
    ACCOUNT,
    LASTING,
    PAIR_LIMIT,
    PASSING,
    RECIPIENT,
    SUPPRESSING,
)

PAIR_SECONDS: Final = 6.0
"""Meta lets a number write to the same person about once in six seconds."""

_MAX_ERROR: Final = 500
_MAX_WAIT: Final = 3_600.0


def reply_outcome(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Classify an answer. Only an answer that is none of the API's own can be `Unknown`."""
    reply = _object(body)
    if 200 <= status < 300:
        message_id = _message_id(reply)
        lost = Unknown("malformed_reply", f"{status} without a message id", provider_wide=True)
        return Sent(message_id) if message_id else lost
    error = reply.get("error")
    if isinstance(error, Mapping) and isinstance(error.get("code"), int):
        return _error_outcome(error, status=status, after=_retry_after(headers))
    return _bare_outcome(status, after=_retry_after(headers))


def _error_outcome(error: Mapping[str, Any], *, status: int, after: float | None) -> Outcome:
    code = error["code"]
    name, text = f"whatsapp_{code}", _text(error)
    if code in ACCOUNT:
        return Retry(name, text, after, provider_wide=True)
    if code in RECIPIENT:
        return Undeliverable(name, text, RECIPIENT[code], SUPPRESSING.get(code))
    if code == PAIR_LIMIT:
        return Retry(name, text, after or PAIR_SECONDS)
    if code in PASSING or status == 429 or (status >= 500 and code not in LASTING):
        return Retry(name, text, after, provider_wide=True)
    return Rejected(name, text)


def _bare_outcome(status: int, *, after: float | None) -> Outcome:
    """Classify an answer without the API's error: some gateway's on the way."""
    name, text = f"http_{status}", f"{status} without an error of the API"
    if status in {502, 504}:  # it passed the message on, and then lost sight of it
        return Unknown(name, text, provider_wide=True)
    if status >= 500 or status in {401, 408, 425, 429}:
        return Retry(name, text, after, provider_wide=True)
    return Rejected(name, text)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return reply if isinstance(reply, dict) else {}


def _message_id(reply: Mapping[str, Any]) -> str | None:
    messages = reply.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    found = first.get("id") if isinstance(first, dict) else None
    return found if isinstance(found, str) and found else None


def _text(error: Mapping[str, Any]) -> str:
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, Mapping) else None
    return " - ".join(str(part) for part in (error.get("message"), details) if part)[:_MAX_ERROR]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Retry-After` (RFC 9110, 10.2.3), a number or a date, at most an hour."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _MAX_WAIT)
    moment = _moment(value)
    if moment is None:
        return None
    # By the provider's own clock, where it tells the time: ours may be another.
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return min(max((moment - now).total_seconds(), 0.0), _MAX_WAIT)


def _moment(text: str) -> datetime | None:
    """Return an HTTP date (RFC 9110, 5.6.7); None when it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
