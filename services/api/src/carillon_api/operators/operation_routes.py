"""`/v1/admin/dead-letters:replay` and `:discard`, `/v1/admin/operations`, `/v1/admin/audit`."""

from typing import Annotated, Any
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends, Query, Response, status

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import not_found
from carillon_api.identifiers import UuidText, uuid_or_missing
from carillon_api.operators import audit, operations
from carillon_api.operators.models import (
    AuditEntry,
    DryRun,
    Operation,
    OperationKind,
    OperationRequest,
    OperationStarted,
    ReconcileRequest,
    ReplayRequest,
)
from carillon_api.operators.operations import Order
from carillon_api.operators.overrides import Overrides, data_of, refuse_wrong_channel, refuse_wrong_data
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, invalid_cursor, key_of
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/admin", tags=["Operators"])

Operator = Annotated[ApiKey, Depends(require_scope("operator"))]
Parts = Annotated[Services, Depends(get_services)]
Words = Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")]

_MAX_BIGINT = 2**63 - 1
_ANSWERS = problems() | {
    200: {"model": DryRun, "description": "A dry run: what would happen now."},
    202: {"model": OperationStarted, "description": "It will be carried out."},
}


@router.post("/dead-letters:replay", operation_id="replayDeadLetters", status_code=202, responses=_ANSWERS)
async def replay(
    wanted: ReplayRequest, caller: Operator, services: Parts, response: Response
) -> OperationStarted | DryRun:
    """Send dead letters again, at a rate, a few also with corrections.

    What is expired, read or opted out of stays, and is counted. More than a hundred go by the bulk lane.
    """
    if wanted.overrides is not None:
        await _refuse_wrong(wanted.overrides, wanted.filter.ids or [], caller, services)
    return await _ask(OperationKind.REPLAY, wanted, caller, services, response)


async def _refuse_wrong(overrides: Overrides, ids: list[UUID], caller: ApiKey, services: Services) -> None:
    tenant_id = caller.tenant_id
    async with tenant_transaction(services.pool, tenant_id) as connection:
        await refuse_wrong_channel(connection, overrides, tenant_id=tenant_id, ids=ids)
        events = await data_of(connection, tenant_id=tenant_id, ids=ids)
    await refuse_wrong_data(overrides, events, types=services.event_types, tenant_id=tenant_id)


@router.post("/dead-letters:discard", operation_id="discardDeadLetters", status_code=202, responses=_ANSWERS)
async def discard(
    wanted: OperationRequest, caller: Operator, services: Parts, response: Response
) -> OperationStarted | DryRun:
    """Give dead letters up, for a reason."""
    return await _ask(OperationKind.DISCARD, wanted, caller, services, response)


@router.post(
    "/dead-letters:reconcile",
    operation_id="reconcileDeadLetters",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(),
)
async def reconcile(wanted: ReconcileRequest, caller: Operator, services: Parts) -> OperationStarted:
    """Compare the dead queues with the dead letters, and mend the queues: the database is what counts.

    Copies without a dead letter are removed, missing ones are published: a purged queue is built anew.
    """
    chosen = {"channel": wanted.channel.value} if wanted.channel else {}
    order = Order(kind=OperationKind.RECONCILE, chosen=chosen, reason=wanted.reason, dry_run=wanted.dry_run)
    return await begin(order, services, caller)


async def _ask(
    kind: OperationKind, wanted: OperationRequest, caller: ApiKey, services: Services, response: Response
) -> OperationStarted | DryRun:
    order = Order(
        kind=kind,
        chosen=wanted.filter.chosen(),
        reason=wanted.reason or "",
        rate=wanted.rate_per_second,
        overrides=_overrides_of(wanted),
    )
    if not wanted.dry_run:
        return await begin(order, services, caller)
    response.status_code = status.HTTP_200_OK
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await operations.dry_run(connection, order, tenant_id=caller.tenant_id)


def _overrides_of(wanted: OperationRequest) -> dict[str, Any] | None:
    if isinstance(wanted, ReplayRequest) and wanted.overrides is not None:
        return wanted.overrides.chosen()
    return None


async def begin(order: Order, services: Services, caller: ApiKey) -> OperationStarted:
    """Store an operation and who asked for it."""
    tenant_id, actor = caller.tenant_id, actor_of(caller)
    async with tenant_transaction(services.pool, tenant_id) as connection:
        found = await operations.count(connection, tenant_id=tenant_id, chosen=order.chosen)
        matched = sum(found.values())
        operation_id = await operations.begin(
            connection, order, tenant_id=tenant_id, actor=actor, matched=matched
        )
        details = {"filter": order.chosen, "rate_per_second": order.rate, "matched": matched}
        await audit.note(
            connection,
            tenant_id=tenant_id,
            actor=actor,
            action=f"operation.{order.kind}",
            target=str(operation_id),
            reason=order.reason,
            details=details | ({"overrides": order.overrides} if order.overrides else {}),
        )
    return OperationStarted(operation_id=operation_id, matched=matched)


@router.get("/operations/{operation}", operation_id="getOperation", responses=problems(404))
async def get_operation(operation: UuidText, caller: Operator, services: Parts) -> Operation:
    """Return a replay or discard and how far it is."""
    operation_id = uuid_or_missing(operation, what="operation")
    return await _found(services, caller, operation_id)


@router.delete("/operations/{operation}", operation_id="stopOperation", responses=problems(404))
async def stop_operation(operation: UuidText, caller: Operator, services: Parts) -> Operation:
    """Stop a replay or discard. What it has done stays done; asking twice changes nothing."""
    operation_id = uuid_or_missing(operation, what="operation")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        if await operations.stop(connection, tenant_id=caller.tenant_id, operation_id=operation_id):
            await audit.note(
                connection,
                tenant_id=caller.tenant_id,
                actor=actor_of(caller),
                action="operation.stopped",
                target=str(operation_id),
                reason=None,
                details={},
            )
    return await _found(services, caller, operation_id)


@router.get("/audit", operation_id="listAudit", responses=problems())
async def list_audit(
    *,
    caller: Operator,
    services: Parts,
    action: Words = None,
    target: Words = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """List who did what, when and why, newest first."""
    before = place_of(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await audit.list_entries(
            connection,
            tenant_id=caller.tenant_id,
            before=before,
            action=action,
            target=target,
            limit=limit + 1,
        )
    page = cut(rows, limit=limit, key=lambda row: str(row.id))
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


def actor_of(caller: ApiKey) -> str:
    """Return how the audit names this caller."""
    return f"key:{caller.key_id}"


async def _found(services: Services, caller: ApiKey, operation_id: UUID) -> Operation:
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await operations.get(connection, tenant_id=caller.tenant_id, operation_id=operation_id)
    if found is None:
        raise not_found("operation")
    return found


def place_of(cursor: str | None) -> int | None:
    """Return the number that a cursor of a numbered list holds. Raises `Problem` for any other cursor."""
    key = key_of(cursor)
    if key is None:
        return None
    if not key.isascii() or not key.isdigit() or int(key) > _MAX_BIGINT:
        raise invalid_cursor()
    return int(key)
