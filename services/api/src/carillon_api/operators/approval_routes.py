"""`/v1/events/{id}/approve` and `/reject`: what an operator says to an event that waits for it."""

from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.states import EventStatus
from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import conflict, not_found
from carillon_api.identifiers import UuidText, uuid_or_missing
from carillon_api.operators import audit
from carillon_api.operators.models import DeliveryCommand
from carillon_api.operators.operation_routes import actor_of
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/events", tags=["Events"])

Operator = Annotated[ApiKey, Depends(require_scope("operator"))]
Parts = Annotated[Services, Depends(get_services)]
Command = Annotated[DeliveryCommand | None, Body()]

_DECIDE = "SELECT before::text, after::text FROM carillon.decide_approval($1, $2, $3)"
_APPROVED = frozenset({EventStatus.ACCEPTED, EventStatus.SCHEDULED})
_REJECTED = frozenset({EventStatus.REJECTED})


class ApprovalDecided(BaseModel):
    """An event that waits no longer."""

    id: UUID
    status: EventStatus


@router.post("/{event}/approve", operation_id="approveEvent", responses=problems(404, 409))
async def approve_event(
    event: UuidText, caller: Operator, services: Parts, command: Command = None
) -> ApprovalDecided:
    """Let an event go on that waits for approval: at once, or at its `deliver_at`. Audited."""
    event_id = uuid_or_missing(event, what="event")
    return await _decide(event_id, caller, services, approved=True, reason=_reason(command))


@router.post("/{event}/reject", operation_id="rejectEvent", responses=problems(404, 409))
async def reject_event(
    event: UuidText, caller: Operator, services: Parts, command: Command = None
) -> ApprovalDecided:
    """End an event that waits for approval: nobody is told. Audited. Saying it twice changes nothing."""
    event_id = uuid_or_missing(event, what="event")
    return await _decide(event_id, caller, services, approved=False, reason=_reason(command))


async def _decide(
    event_id: UUID, caller: ApiKey, services: Services, *, approved: bool, reason: str | None
) -> ApprovalDecided:
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        row = await connection.fetchrow(_DECIDE, caller.tenant_id, event_id, approved)
        if row is None:
            raise not_found("event")
        before, after = EventStatus(row["before"]), EventStatus(row["after"])
        if before is EventStatus.PENDING_APPROVAL:
            await audit.note(
                connection,
                tenant_id=caller.tenant_id,
                actor=actor_of(caller),
                action="event.approved" if after in _APPROVED else f"event.{after}",
                target=str(event_id),
                reason=reason,
                details={},
            )
    _refuse_if_other(before, after, approved=approved)
    return ApprovalDecided(id=event_id, status=after)


def _refuse_if_other(before: EventStatus, after: EventStatus, *, approved: bool) -> None:
    """Raise `Problem` 409 when the event did not become what was asked for, and is not that already."""
    if after is EventStatus.EXPIRED:
        raise conflict("The event had expired before it was approved or rejected.", slug="event-expired")
    wanted = _APPROVED if approved else _REJECTED
    if before is EventStatus.PENDING_APPROVAL or (not approved and after in wanted):
        return
    raise conflict(f"The event waits for no approval: it is {after}.", slug="not-pending")


def _reason(command: DeliveryCommand | None) -> str | None:
    return command.reason if command is not None else None
