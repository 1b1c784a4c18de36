"""Error codes of Meta's WhatsApp Cloud API: in its answers, and in receipts of what failed later.

Source: Meta's page "Cloud API error codes". It asks clients to go by the code.
"""

from collections.abc import Mapping
from typing import Final

from carillon_shared.domain.states import Reason
from carillon_shared.domain.suppressions import SuppressionReason

PAIR_LIMIT: Final = 131056
"""Too many messages to the same person."""

PASSING: Final = frozenset(
    {
        1,  # unknown, possibly a server error
        2,  # down or overloaded
        4,  # calls of the app
        80007,  # rate of the business account
        130429,  # throughput of the number
        131000,  # unknown error
        131016,  # service unavailable
        131048,  # many reports of spam: sending is restricted for a while
        PAIR_LIMIT,
        131057,  # maintenance
        133004,  # server temporarily unavailable
    }
)

ACCOUNT: Final = frozenset(
    {
        0,  # the token expired or is wrong, as 104 and 190
        104,
        190,
        10,  # the permission to send is missing
        368,  # blocked for a while
        131031,  # the account is locked
        131042,  # it has not paid
        133010,  # the number is not registered
    }
)
"""It concerns every message and an operator mends it, so none is given up."""

RECIPIENT: Final[Mapping[int, Reason]] = {
    131026: Reason.INVALID_ADDRESS,  # not on WhatsApp, or has not accepted its terms
    131030: Reason.INVALID_ADDRESS,  # not on the list of a test number
    131021: Reason.INVALID_ADDRESS,  # is the sending number itself
    131049: Reason.FREQUENCY_CAP,  # Meta keeps this person from too much marketing
    130472: Reason.PROVIDER_REJECTED,  # part of an experiment of Meta's
    131050: Reason.OPTED_OUT,  # has stopped marketing messages
}
"""About this person alone: trying again is pointless."""

SUPPRESSING: Final[Mapping[int, SuppressionReason]] = {
    131026: SuppressionReason.BOUNCED,
    131050: SuppressionReason.STOPPED,
}
"""What holds for every other message to this person as well."""

LASTING: Final = frozenset({3, 131045})
"""Answered with 500, and yet nothing that passes: a missing capability, a registration that is broken."""


def failure_reason(code: int) -> Reason | None:
    """Return why a message that was accepted failed for good; None when the failure passes by itself."""
    if code in PASSING or code in ACCOUNT:
        return None
    return RECIPIENT.get(code, Reason.PROVIDER_REJECTED)
