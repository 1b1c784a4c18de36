"""Explanations in words."""

from datetime import datetime
from typing import Final

from carillon_shared.domain.rules import RULE_OF_REASON, Decision, Rule, Step, Verdict
from carillon_shared.domain.states import DeliveryStatus, HoldReason, Reason

_PASSED: Final = {
    Rule.ACTOR: "is not the one who did it",
    Rule.EXCLUDED: "is not among those the event excludes",
    Rule.REGISTERED: "is a registered subscriber",
    Rule.CHANNEL: "the tenant has the channel switched on",
    Rule.ADDRESS: "has what this channel needs to reach them",
    Rule.SUPPRESSION: "the address is not suppressed",
    Rule.MUTE: "has muted nothing that the event is about, or the type is mandatory",
    Rule.PREFERENCE: "wants this type over this channel, or the type is mandatory",
    Rule.CONDITION: "no condition of the type stands against it",
    Rule.QUIET_HOURS: "it is not their quiet hours, or the event may disturb",
    Rule.DIGEST: "the type does not gather it",
    Rule.LIMIT: "no limit is used up",
}
_REASONS: Final = {
    Reason.ACTOR: "did it themselves, and actors are not told",
    Reason.EXCLUDED: "the event excludes them",
    Reason.UNKNOWN_SUBSCRIBER: "nobody has registered this id",
    Reason.CHANNEL_DISABLED: "the channel is switched off",
    Reason.NO_ADDRESS: "has no address for this channel",
    Reason.SUPPRESSED: "the address is suppressed: mail came back, or they told the provider to stop",
    Reason.MUTED: "has muted a topic of the event",
    Reason.OPTED_OUT: "does not want this over this channel, by their preferences or the tenant's defaults",
    Reason.DUPLICATE: "was told already",
    Reason.ALREADY_READ: "has read it in the feed",
    Reason.EMPTY_DIGEST: "nothing that was gathered is to be sent any more",
    Reason.CONDITION_NOT_MET: "the type's condition for this channel was not met",
    Reason.QUIET_HOURS: "it was their quiet hours, and the type does not wait for their end",
    Reason.THROTTLED: "the type's limit for one person is used up",
    Reason.FREQUENCY_CAP: "the limit for one person across types is used up",
    Reason.EXPIRED: "it was too late to be of use",
    Reason.CANCELLED: "it was cancelled first",
    Reason.INVALID_ADDRESS: "the address is none, or nobody is there",
    Reason.PROVIDER_REJECTED: "the provider refuses the message",
    Reason.TEMPLATE_MISSING: "there is no template for this channel",
    Reason.TEMPLATE_ERROR: "the template cannot be filled with this data",
    Reason.RETRIES_EXHAUSTED: "every attempt failed",
    Reason.OUTCOME_UNKNOWN: "the provider may have it, and the type is at-most-once",
    Reason.POISON: "whoever handles it crashes",
    Reason.DISCARDED: "an operator gave it up",
    Reason.RETENTION: "it was older than what is kept",
}
_HOLDS: Final = {
    HoldReason.QUIET_HOURS: "it is their quiet hours",
    HoldReason.DIGEST: "it is gathered into a digest",
    HoldReason.THROTTLED: "a limit is used up for now",
    HoldReason.SCHEDULED: "it is not due yet",
    HoldReason.CONDITION: "it is not known yet whether it is needed over this channel",
}
_STATES: Final = {
    DeliveryStatus.QUEUED: "Goes out",
    DeliveryStatus.SENDING: "Is being sent now",
    DeliveryStatus.RETRYING: "Goes out: an attempt failed, and another is due",
    DeliveryStatus.UNKNOWN: "Was handed to the provider, who did not say what became of it",
    DeliveryStatus.SENT: "Sent: the provider has accepted it",
    DeliveryStatus.DELIVERED: "Delivered",
    DeliveryStatus.READ: "Delivered and read",
    DeliveryStatus.FAILED: "Could not reach them",
    DeliveryStatus.DEAD: "Waits for an operator",
    DeliveryStatus.DISCARDED: "Given up",
    DeliveryStatus.CANCELLED: "Stopped",
    DeliveryStatus.EXPIRED: "Not sent",
}


def step_in_words(step: Step, *, reason: Reason | None, hold_reason: HoldReason | None) -> str:
    """Return what a rule said as a phrase about the person."""
    match step.verdict:
        case Verdict.PASSED:
            return _PASSED[step.rule]
        case Verdict.SKIP if reason is not None:
            return reason_in_words(reason)
        case Verdict.HOLD if hold_reason is not None:
            return _hold_in_words(hold_reason, reason)
        case _:
            return "not asked: it was decided before"


def reason_in_words(reason: Reason) -> str:
    """Return a reason as a phrase about the person."""
    return _REASONS[reason]


def _hold_in_words(hold_reason: HoldReason, reason: Reason | None) -> str:
    return f"{_REASONS[reason]}; {_HOLDS[hold_reason]}" if reason else _HOLDS[hold_reason]


def summary(
    decision: Decision,
    status: DeliveryStatus,
    *,
    reason: Reason | None,
    hold_reason: HoldReason | None,
    until: datetime | None,
) -> str:
    """Return one sentence about a delivery."""
    if decision is Decision.SKIP:
        return f"Not sent: {reason_in_words(reason)}." if reason else "Not sent."
    if decision is Decision.HOLD:
        due = f" until {until:%Y-%m-%d %H:%M:%S} UTC" if until else ""
        return f"Held{due}: {_hold_in_words(hold_reason, reason)}." if hold_reason else f"Held{due}."
    ended_by = reason if reason is not None and RULE_OF_REASON[reason] is None else None
    why = f": {reason_in_words(ended_by)}" if ended_by else ""
    return f"{_STATES[status]}{why}."
