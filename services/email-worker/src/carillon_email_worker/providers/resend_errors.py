"""What Resend's answers mean.

Source: Resend's page "Errors". The name says more than the status.
"""

from collections.abc import Mapping
from typing import Any, Final

from carillon_shared.delivery.http_replies import bare_outcome, json_object, retry_after, text_in
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Sent, Undeliverable, Unknown

_MAX_ERROR: Final = 500

_PASSING: Final = frozenset(
    {
        "rate_limit_exceeded",
        "application_error",
        "internal_server_error",
        "service_unavailable",
        "concurrent_idempotent_requests",  # the attempt before this one is still under way there
    }
)
_ACCOUNT: Final = frozenset(
    {
        "missing_api_key",
        "invalid_api_key",
        "restricted_api_key",
        "suspended_api_key",
        "daily_quota_exceeded",
        "monthly_quota_exceeded",
        "invalid_from_address",
    }
)
"""It concerns every mail and an operator mends it, so none is given up."""


def reply_outcome(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """Classify an answer. Only an answer that is none of the API's own can be `Unknown`."""
    reply = json_object(body)
    if 200 <= status < 300:
        mail = text_in(reply, "id")
        return (
            Sent(mail) if mail else Unknown("malformed_reply", f"{status} without an id", provider_wide=True)
        )
    name = text_in(reply, "name")
    if name is None:
        return bare_outcome(status, after=retry_after(headers))
    return _error_outcome(name, reply, status=status, after=retry_after(headers))


def _error_outcome(name: str, reply: Mapping[str, Any], *, status: int, after: float | None) -> Outcome:
    code, text = f"resend_{name}", (text_in(reply, "message") or "")[:_MAX_ERROR]
    # 403: a key without the right, or a domain that is not verified yet
    if name in _PASSING or name in _ACCOUNT or status in {401, 403, 429} or status >= 500:
        return Retry(code, text, after, provider_wide=name != "concurrent_idempotent_requests")
    if name == "validation_error" and "`to`" in text:
        return Undeliverable(code, text)
    return Rejected(code, text)
