"""What the answers of HTTP interfaces have in common."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Unknown

_MAX_WAIT: Final = 3_600.0


def json_object(body: bytes) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return reply if isinstance(reply, dict) else {}


def text_in(reply: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is a text with something in it."""
    found = reply.get(name)
    return found if isinstance(found, str) and found else None


def bare_outcome(status: int, *, after: float | None) -> Outcome:
    """Classify an answer without the API's own error: some gateway's on the way."""
    name, text = f"http_{status}", f"{status} without an error of the API"
    if status in {502, 504}:  # it passed the message on, and then lost sight of it
        return Unknown(name, text, provider_wide=True)
    if status >= 500 or status in {401, 408, 425, 429}:
        return Retry(name, text, after, provider_wide=True)
    return Rejected(name, text)


def retry_after(headers: Mapping[str, str]) -> float | None:
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
