"""Which answers of a provider ask for fewer calls."""

from typing import Final

from carillon_shared.domain.outcomes import Retry, Unknown

_CODES: Final = frozenset(
    {
        "http_429",
        "smtp_421",
        "smtp_454",
        "resend_rate_limit_exceeded",
        "resend_daily_quota_exceeded",
        "resend_monthly_quota_exceeded",
        "twilio_20429",
        "twilio_63018",
        "whatsapp_4",
        "whatsapp_80007",
        "whatsapp_130429",
        "whatsapp_131048",
    }
)
"""HTTP 429 (RFC 6585, section 4) and the codes that mail servers, Resend, Twilio and Meta use for it."""


def is_throttling(outcome: Retry | Unknown) -> bool:
    """Tell whether the provider said that calls come too fast, or named a time to wait (`Retry-After`)."""
    return isinstance(outcome, Retry) and (outcome.after is not None or outcome.code in _CODES)
