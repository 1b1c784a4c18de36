"""What SMTP replies mean (RFC 5321, section 4.2; enhanced codes: RFC 3463)."""

import re
from enum import Enum

from carillon_shared.domain.mail_status import is_lasting
from carillon_shared.domain.outcomes import Outcome, Rejected, Retry, Undeliverable
from carillon_shared.domain.suppressions import SuppressionReason

_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
MAX_ERROR = 500

_COMMAND_PROBLEMS = frozenset({500, 501, 502, 503, 504, 555})
"""The server does not understand us: nothing about the recipient."""

_LOGIN_PROBLEMS = frozenset({530, 534, 535, 538})
"""The operator's to mend, and it concerns every mail, so none is given up for it."""

_SERVER_STATES = frozenset({421, 454})
"""Closing down, or too many connections or messages; and, in the field, the account's sending rate."""


class Stage(Enum):
    """How far a mail got when the reply came."""

    CONNECT = "connect"
    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"  # before the message
    MESSAGE = "message"  # after its final dot


def reply_outcome(stage: Stage, code: int, text: str) -> Outcome:
    """Classify a reply that is no success. A reply is an answer: nothing here is ever `Unknown`."""
    error = f"{code} {' '.join(text.split())}"[:MAX_ERROR]
    name = f"smtp_{code}"
    if code < 500 or code in _LOGIN_PROBLEMS or stage is Stage.CONNECT:
        return Retry(name, error, provider_wide=_is_servers(stage, code, text))
    if not _is_recipients(stage, code, text):
        return Rejected(name, error)
    enhanced = _ENHANCED.search(text)
    suppress = SuppressionReason.BOUNCED if enhanced and is_lasting(enhanced[0]) else None
    return Undeliverable(name, error, suppress=suppress)


def _is_servers(stage: Stage, code: int, text: str) -> bool:
    """Say whether a passing refusal is the server's state, which any other mail would have met too.

    4.3 is the state of the mail system. Greylisting (4.7.1) and full mailboxes (4.2) are one recipient's.
    """
    if stage in {Stage.CONNECT, Stage.SENDER} or code in _LOGIN_PROBLEMS or code in _SERVER_STATES:
        return True
    enhanced = _ENHANCED.search(text)
    return enhanced is not None and enhanced[2] == "3"


def _is_recipients(stage: Stage, code: int, text: str) -> bool:
    """Say whether a refusal is about this recipient's address, not about us or the message."""
    if stage not in {Stage.RECIPIENT, Stage.MESSAGE}:
        return False
    enhanced = _ENHANCED.search(text)
    subject = enhanced[2] if enhanced else None
    if subject in {"1", "2"}:  # addressing, mailbox
        return enhanced is not None and enhanced[3] not in {"7", "8"}  # 5.1.7 and 5.1.8 are the sender's
    # 5.7 is policy
    return stage is Stage.RECIPIENT and subject != "7" and code not in _COMMAND_PROBLEMS
