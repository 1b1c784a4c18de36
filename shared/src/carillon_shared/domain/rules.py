"""The rules that decide about a delivery, in the order in which they are asked.

The rules themselves are SQL (`carillon.skip_reason` and the planning around it). Here is only their order,
and which of them a stored reason names, so that a decision can be explained without making it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from carillon_shared.domain.states import DeliveryStatus, HoldReason, Reason


class Rule(StrEnum):
    """One question about a (subscriber, channel). In the order in which they are asked."""

    ACTOR = "actor"
    EXCLUDED = "excluded"
    REGISTERED = "registered"
    CHANNEL = "channel"
    ADDRESS = "address"
    SUPPRESSION = "suppression"
    MUTE = "mute"
    PREFERENCE = "preference"
    CONDITION = "condition"
    QUIET_HOURS = "quiet_hours"
    DIGEST = "digest"  # of the type: what it gathers is no message yet, so no limit counts it
    LIMIT = "limit"


class Verdict(StrEnum):
    """What a rule said."""

    PASSED = "passed"
    SKIP = "skip"
    HOLD = "hold"
    NOT_ASKED = "not_asked"  # an earlier rule had decided


class Decision(StrEnum):
    """What the rules came to."""

    SEND = "send"
    HOLD = "hold"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Step:
    """One rule and what it said."""

    rule: Rule
    verdict: Verdict


RULE_OF_REASON: Final[Mapping[Reason, Rule | None]] = {
    Reason.ACTOR: Rule.ACTOR,
    Reason.EXCLUDED: Rule.EXCLUDED,
    Reason.UNKNOWN_SUBSCRIBER: Rule.REGISTERED,
    Reason.CHANNEL_DISABLED: Rule.CHANNEL,
    Reason.NO_ADDRESS: Rule.ADDRESS,
    Reason.SUPPRESSED: Rule.SUPPRESSION,
    Reason.MUTED: Rule.MUTE,
    Reason.OPTED_OUT: Rule.PREFERENCE,
    Reason.DUPLICATE: Rule.CONDITION,
    Reason.ALREADY_READ: Rule.CONDITION,
    Reason.CONDITION_NOT_MET: Rule.CONDITION,
    Reason.QUIET_HOURS: Rule.QUIET_HOURS,
    Reason.THROTTLED: Rule.LIMIT,
    Reason.FREQUENCY_CAP: Rule.LIMIT,
    Reason.EMPTY_DIGEST: Rule.DIGEST,
    # What ended a delivery that the rules had let through.
    Reason.EXPIRED: None,
    Reason.CANCELLED: None,
    Reason.INVALID_ADDRESS: None,
    Reason.PROVIDER_REJECTED: None,
    Reason.TEMPLATE_MISSING: None,
    Reason.TEMPLATE_ERROR: None,
    Reason.RETRIES_EXHAUSTED: None,
    Reason.OUTCOME_UNKNOWN: None,
    Reason.POISON: None,
    Reason.DISCARDED: None,
    Reason.RETENTION: None,
}
"""The rule that a reason names; None for what came after the rules."""

RULE_OF_HOLD: Final[Mapping[HoldReason, Rule]] = {
    HoldReason.QUIET_HOURS: Rule.QUIET_HOURS,
    HoldReason.THROTTLED: Rule.LIMIT,
    HoldReason.DIGEST: Rule.DIGEST,
    HoldReason.SCHEDULED: Rule.CONDITION,
    HoldReason.CONDITION: Rule.CONDITION,
}
"""The rule that a hold names, unless a reason beside it says more: a full frequency cap gathers, too."""


def decision_of(status: DeliveryStatus) -> Decision:
    """Return what the rules came to for a delivery in this state."""
    match status:
        case DeliveryStatus.SKIPPED:
            return Decision.SKIP
        case DeliveryStatus.HELD:
            return Decision.HOLD
        case _:
            return Decision.SEND


def steps_of(
    status: DeliveryStatus, *, reason: Reason | None, hold_reason: HoldReason | None
) -> tuple[Step, ...]:
    """Return every rule in order, with what it said about a delivery that is stored like this."""
    decision = decision_of(status)
    decider: Rule | None = None
    if decision is Decision.SKIP and reason is not None:
        decider = RULE_OF_REASON[reason]
    elif decision is Decision.HOLD and hold_reason is not None:
        decider = (reason and RULE_OF_REASON[reason]) or RULE_OF_HOLD[hold_reason]
    said = Verdict.SKIP if decision is Decision.SKIP else Verdict.HOLD
    steps: list[Step] = []
    passed = True
    for rule in Rule:
        if rule is decider:
            steps.append(Step(rule, said))
            passed = False
        else:
            steps.append(Step(rule, Verdict.PASSED if passed else Verdict.NOT_ASKED))
    return tuple(steps)
