"""What Twilio's answers mean.

Source: Twilio's "Error and Warning Dictionary". A message that was taken may still fail; only the answer is
read here.
"""

from collections.abc import Mapping
from typing import Any, Final

from carillon_shared.delivery.http_replies import bare_outcome, json_object, retry_after, text_in
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import Reason
from carillon_shared.domain.suppressions import SuppressionReason

_MAX_ERROR: Final = 500

_RECIPIENT: Final[Mapping[int, tuple[Reason, SuppressionReason | None]]] = {
    21211: (Reason.INVALID_ADDRESS, SuppressionReason.BOUNCED),  # no number
    21614: (Reason.INVALID_ADDRESS, SuppressionReason.BOUNCED),  # not reachable by this channel
    63003: (Reason.INVALID_ADDRESS, SuppressionReason.BOUNCED),  # not on WhatsApp
    63024: (Reason.INVALID_ADDRESS, SuppressionReason.BOUNCED),  # no valid recipient
    21610: (Reason.OPTED_OUT, SuppressionReason.STOPPED),  # wrote STOP
    63032: (Reason.PROVIDER_REJECTED, None),  # Meta's limit for this person
}
_PASSING: Final = frozenset({20429, 20500, 20503, 20504, 63018, 63017, 30001})
"""Too many requests, their own faults, WhatsApp's throughput, a full queue."""

_ACCOUNT: Final = frozenset({20003, 20005, 20006, 20404, 21606, 21608, 63007, 63020, 63100})
"""It concerns every message and an operator mends it: credentials, the account, the sending number."""


def reply_outcome(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Classify an answer. Only an answer that is none of the API's own can be `Unknown`."""
    reply = json_object(body)
    if 200 <= status < 300:
        sid = text_in(reply, "sid")
        return Sent(sid) if sid else Unknown("malformed_reply", f"{status} without a sid", provider_wide=True)
    code = reply.get("code")
    if isinstance(code, int):
        return _error_outcome(code, reply, status=status, after=retry_after(headers))
    return bare_outcome(status, after=retry_after(headers))


def _error_outcome(code: int, reply: Mapping[str, Any], *, status: int, after: float | None) -> Outcome:
    name, text = f"twilio_{code}", (text_in(reply, "message") or "")[:_MAX_ERROR]
    if code in _RECIPIENT:
        return Undeliverable(name, text, *_RECIPIENT[code])
    if code in _PASSING or code in _ACCOUNT or status in {401, 429} or status >= 500:
        return Retry(name, text, after, provider_wide=True)
    return Rejected(name, text)
