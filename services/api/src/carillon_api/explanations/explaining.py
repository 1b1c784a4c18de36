"""Makes explanations of rows, stored ones and those of a dry run alike."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.rules import decision_of, steps_of
from carillon_shared.domain.states import RESTING_STATUSES, DeliveryStatus, EventStatus, HoldReason, Reason

from carillon_api.deliveries.models import Attempt, Delivery
from carillon_api.explanations.models import EventStep, Explained, ExplainedDelivery, ExplainedStep, Happening
from carillon_api.explanations.words import reason_in_words, step_in_words, summary

_GOOD = {DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ, DeliveryStatus.SKIPPED}


def explained(
    *,
    subscriber: str,
    channel: Channel,
    status: DeliveryStatus,
    reason: Reason | None,
    hold_reason: HoldReason | None,
    until: datetime | None,
) -> Explained:
    """Return what the rules came to for a delivery that is, or would be, stored like this."""
    decision = decision_of(status)
    return Explained(
        subscriber=subscriber,
        channel=channel,
        decision=decision,
        reason=reason,
        hold_reason=hold_reason,
        until=until,
        status=status,
        summary=summary(decision, status, reason=reason, hold_reason=hold_reason, until=until),
        steps=[
            ExplainedStep(
                rule=step.rule,
                verdict=step.verdict,
                detail=step_in_words(step, reason=reason, hold_reason=hold_reason),
            )
            for step in steps_of(status, reason=reason, hold_reason=hold_reason)
        ],
    )


def explained_delivery(delivery: Delivery) -> ExplainedDelivery:
    """Return why a delivery is what it is, and what has happened to it."""
    rules = explained(
        subscriber=delivery.subscriber,
        channel=delivery.channel,
        status=delivery.status,
        reason=delivery.reason,
        hold_reason=delivery.hold_reason,
        until=delivery.next_attempt_at,
    )
    history = sorted(_history(delivery), key=lambda happening: happening.at)
    return ExplainedDelivery(**dict(rules), delivery_id=delivery.id, history=history)


def _history(delivery: Delivery) -> Iterator[Happening]:
    yield Happening(at=delivery.created_at, what="planned", detail=None)
    for attempt in delivery.attempts:
        yield Happening(
            at=attempt.started_at, what=f"attempt {attempt.number}", detail=_attempt_in_words(attempt)
        )
    for receipt in delivery.receipts:
        detail = receipt.error or receipt.code
        yield Happening(at=receipt.received_at, what=f"receipt {receipt.state}", detail=detail)
    if delivery.status in RESTING_STATUSES - _GOOD:
        detail = reason_in_words(delivery.reason) if delivery.reason else None
        yield Happening(at=delivery.updated_at, what=delivery.status.value, detail=detail)


def _attempt_in_words(attempt: Attempt) -> str:
    said = attempt.error or attempt.code
    outcome = f"{attempt.outcome} by {attempt.provider}" if attempt.outcome == "sent" else attempt.outcome
    return f"{outcome}: {said}" if said else outcome


def event_steps(event: Mapping[str, Any]) -> list[EventStep]:
    """Return what an event went through, from its row."""
    steps = [EventStep(what="accepted", at=event["accepted_at"], detail="committed; it cannot be lost")]
    if event["deliver_at"] is not None:
        steps.append(
            EventStep(what="scheduled", at=event["deliver_at"], detail="planned when that time comes")
        )
    if event["expires_at"] is not None:
        detail = "nothing of it is sent after that"
        steps.append(EventStep(what="expires", at=event["expires_at"], detail=detail))
    if event["planned_at"] is not None:
        detail = "everybody in its audience was decided about"
        steps.append(EventStep(what="planned", at=event["planned_at"], detail=detail))
    if event["plan_error"]:
        steps.append(EventStep(what="planning failed", at=None, detail=event["plan_error"]))
    if event["cancelled_at"] is not None:
        by = event["replaced_by"]
        detail = f"replaced by {by}, which has the same collapse key; " if by else ""
        detail += "whatever had not left was stopped"
        steps.append(EventStep(what="cancelled", at=event["cancelled_at"], detail=detail))
    return steps


_UNDECIDED = {
    EventStatus.PENDING_APPROVAL: "Nobody is decided about yet: the event waits for an operator's approval.",
    EventStatus.SCHEDULED: "Nobody is decided about yet: the event is not due.",
    EventStatus.ACCEPTED: "Nobody is decided about yet: the event waits to be planned.",
    EventStatus.DISPATCHING: "Not decided about yet, or not in the audience: the event is being planned.",
    EventStatus.CANCELLED: "Not in the audience, or the event was cancelled before it was planned for them.",
    EventStatus.REJECTED: "Nobody is told: an operator rejected the event.",
    EventStatus.EXPIRED: "Not in the audience, or the event expired before it was planned for them.",
}


def nothing_found(status: EventStatus, subscriber: str | None) -> str:
    """Return why an event has no delivery for a person (or for anybody)."""
    if status in _UNDECIDED:
        return _UNDECIDED[status]
    if subscriber is None:
        return "The event's audience has nobody in it."
    return f"{subscriber} is not in the event's audience."
