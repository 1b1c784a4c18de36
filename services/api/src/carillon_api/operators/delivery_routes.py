"""`/v1/deliveries/{id}/retry` and `/cancel`: what an operator does to one delivery."""

from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.states import DeliveryStatus
from fastapi import APIRouter, Body, Depends

from carillon_api.authentication.callers import ApiKey
from carillon_api.deliveries.storage import get_delivery
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import Problem, conflict, not_found
from carillon_api.identifiers import UuidText, uuid_or_missing
from carillon_api.operators import audit, operations
from carillon_api.operators.models import (
    DeliveryCancelled,
    DeliveryCommand,
    OperationKind,
    OperationStarted,
)
from carillon_api.operators.operation_routes import actor_of, begin
from carillon_api.operators.operations import Order
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/deliveries", tags=["Deliveries"])

Operator = Annotated[ApiKey, Depends(require_scope("operator"))]
Parts = Annotated[Services, Depends(get_services)]
Command = Annotated[DeliveryCommand | None, Body()]

_CANCEL = "SELECT carillon.cancel_delivery($1, $2)::text"
_NO_REASON = "one delivery, no reason given"


@router.post("/{delivery}/retry", operation_id="retryDelivery", status_code=202, responses=problems(404, 409))
async def retry_delivery(
    delivery: UuidText, caller: Operator, services: Parts, command: Command = None
) -> OperationStarted:
    """Send a dead delivery again, unless that would not be right any more: 409 says why."""
    delivery_id = uuid_or_missing(delivery, what="delivery")
    await _refuse_retry(services, caller, delivery_id)
    order = Order(
        kind=OperationKind.REPLAY,
        chosen={"id": str(delivery_id)},
        reason=_reason(command) or _NO_REASON,
    )
    return await begin(order, services, caller)


@router.post("/{delivery}/cancel", operation_id="cancelDelivery", responses=problems(404, 409))
async def cancel_delivery(
    delivery: UuidText, caller: Operator, services: Parts, command: Command = None
) -> DeliveryCancelled:
    """Stop a delivery that has not begun. Asking twice changes nothing; what is being sent or over: 409."""
    delivery_id = uuid_or_missing(delivery, what="delivery")
    tenant_id = caller.tenant_id
    async with tenant_transaction(services.pool, tenant_id) as connection:
        state = await connection.fetchval(_CANCEL, tenant_id, delivery_id)
        if state is None:
            raise not_found("delivery")
        if state != DeliveryStatus.CANCELLED:
            raise conflict(f"The delivery is {state}.", slug="not-cancellable")
        await audit.note(
            connection,
            tenant_id=tenant_id,
            actor=actor_of(caller),
            action="delivery.cancelled",
            target=str(delivery_id),
            reason=_reason(command),
            details={},
        )
    return DeliveryCancelled(id=delivery_id, status=DeliveryStatus.CANCELLED)


async def _refuse_retry(services: Services, caller: ApiKey, delivery_id: UUID) -> None:
    """Raise `Problem`: 404, or 409 for a delivery that is not dead or must not go out again."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await get_delivery(connection, tenant_id=caller.tenant_id, delivery_id=delivery_id)
        if found is None:
            raise not_found("delivery")
        if found.status is not DeliveryStatus.DEAD:
            raise conflict(
                f"The delivery is {found.status}; only a dead one can be retried.", slug="not-dead"
            )
        (skip,) = await operations.verdicts_of(connection, [delivery_id]) or [None]
    if skip is not None:
        raise _must_not_go_out(skip)


def _reason(command: DeliveryCommand | None) -> str | None:
    return command.reason if command is not None else None


def _must_not_go_out(skip: str) -> Problem:
    detail = "It would not be right to send this again."
    return Problem("replay-refused", "The delivery stays dead.", 409, detail, reason=skip)
