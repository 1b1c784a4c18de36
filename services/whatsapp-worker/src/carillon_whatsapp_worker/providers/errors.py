"""What the Cloud API's answers mean.

Source: Meta's page "Cloud API error codes". It asks clients to go by the code, not by the status.
"""

from collections.abc import Mapping
from typing import Any, Final

from carillon_shared.delivery.http_replies import bare_outcome, json_object, retry_after
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


def reply_outcome(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Classify an answer. Only an answer that is none of the API's own can be `Unknown`."""
    reply = json_object(body)
    if 200 <= status < 300:
        message_id = _message_id(reply)
        lost = Unknown("malformed_reply", f"{status} without a message id", provider_wide=True)
        return Sent(message_id) if message_id else lost
    error = reply.get("error")
    if isinstance(error, Mapping) and isinstance(error.get("code"), int):
        return _error_outcome(error, status=status, after=retry_after(headers))
    return bare_outcome(status, after=retry_after(headers))


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


def _message_id(reply: Mapping[str, Any]) -> str | None:
    messages = reply.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    found = first.get("id") if isinstance(first, dict) else None
    return found if isinstance(found, str) and found else None


def _text(error: Mapping[str, Any]) -> str:
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, Mapping) else None
    return " - ".join(str(part) for part in (error.get("message"), details) if part)[:_MAX_ERROR]
