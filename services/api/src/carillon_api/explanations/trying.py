"""The answer to a dry run."""

from datetime import datetime
from uuid import UUID

from carillon_shared.domain.states import EventStatus

from carillon_api.errors import Problem
from carillon_api.explanations.models import DryRun, EventStep
from carillon_api.explanations.rehearsal import MOST_PEOPLE, Rehearsal
from carillon_api.intake.collapsing import being_planned, collapsed
from carillon_api.intake.rows import IntakeRow, Result
from carillon_api.intake.service import event_conflict
from carillon_api.intake.throttling import throttled
from carillon_api.problem_responses import ProblemDocument


def refused(problem: Problem) -> DryRun:
    """Return the answer for an event that intake would refuse."""
    document = ProblemDocument.model_validate(problem.document())
    return DryRun(
        result="refused",
        problem=document,
        event_id=None,
        status=None,
        steps=[EventStep(what="refused", at=None, detail=problem.detail or problem.title)],
        people=0,
        data=[],
        truncated=False,
    )


def answer_of(found: Rehearsal, row: IntakeRow, *, at: datetime, person: str | None) -> DryRun:
    """Return the answer for an event that was rehearsed."""
    match Result(found.result):
        case Result.ACCEPTED:
            return _accepted(found, row, at=at, person=person)
        case Result.DUPLICATE:
            return _duplicate(found)
        case Result.THROTTLED:
            return refused(throttled(row))
        case Result.COLLAPSED:
            return refused(collapsed(row, found.event_id))
        case Result.BUSY:
            return refused(being_planned())
        case _:
            return refused(event_conflict(found.event_id))


def _accepted(found: Rehearsal, row: IntakeRow, *, at: datetime, person: str | None) -> DryRun:
    return DryRun(
        result="accepted",
        problem=None,
        event_id=None,
        status=found.status,
        steps=_steps(found, row, at),
        people=found.people,
        data=[planned.explained() for planned in found.rows],
        truncated=person is None and found.people > MOST_PEOPLE,
    )


def _duplicate(found: Rehearsal) -> DryRun:
    detail = "the same event was sent before; sending it again changes nothing"
    return DryRun(
        result="duplicate",
        problem=None,
        event_id=UUID(found.event_id) if found.event_id else None,
        status=None,
        steps=[EventStep(what="duplicate", at=None, detail=detail)],
        people=0,
        data=[],
        truncated=False,
    )


def _steps(found: Rehearsal, row: IntakeRow, at: datetime) -> list[EventStep]:
    steps = [EventStep(what="accepted", at=at, detail="would be taken, and committed")]
    if found.status is EventStatus.SCHEDULED:
        detail = "would be planned then; what follows is as if it were due now"
        steps.append(EventStep(what="scheduled", at=row.deliver_at, detail=detail))
    if found.status is EventStatus.PENDING_APPROVAL:
        detail = "would wait for an operator; what follows is as if it were approved now"
        steps.append(EventStep(what="approval", at=None, detail=detail))
    if found.expired:
        detail = "it is too late already: nobody would be told"
        steps.append(EventStep(what="expired", at=row.expires_at, detail=detail))
    elif row.expires_at is not None:
        steps.append(EventStep(what="expires", at=row.expires_at, detail="nothing of it is sent after that"))
    return steps
