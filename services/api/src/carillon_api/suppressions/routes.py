"""`/v1/admin/suppressions`: whom nothing is sent to, whatever they chose."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.suppressions import SuppressionReason
from fastapi import APIRouter, Depends, Query, Response

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import invalid, not_found
from carillon_api.identifiers import UuidText, uuid_or_missing
from carillon_api.operators import audit
from carillon_api.operators.operation_routes import actor_of
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, invalid_cursor, key_of
from carillon_api.problem_responses import problems
from carillon_api.services import Services
from carillon_api.subscribers.storage import find_number
from carillon_api.suppressions import storage
from carillon_api.suppressions.models import Suppression, SuppressionBody, normal_address
from carillon_api.suppressions.storage import Place, Wanted

router = APIRouter(prefix="/v1/admin/suppressions", tags=["Operators"])

Operator = Annotated[ApiKey, Depends(require_scope("operator"))]
Parts = Annotated[Services, Depends(get_services)]
Words = Annotated[str | None, Query(max_length=254, pattern=r"^[^\x00]*$")]


@router.get("", operation_id="listSuppressions", responses=problems())
async def list_suppressions(
    *,
    caller: Operator,
    services: Parts,
    channel: Channel | None = None,
    reason: SuppressionReason | None = None,
    address: Words = None,
    subscriber: Words = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Suppression]:
    """List suppressions in force, newest first. An address is looked up whole, with its channel."""
    wanted = Wanted(channel, reason, _looked_up(channel, address), subscriber)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_suppressions(connection, wanted, after=_place(cursor), limit=limit + 1)
    page = cut(rows, limit=limit, key=lambda row: f"{row.created_at.isoformat()} {row.id}")
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.post("", operation_id="addSuppression", status_code=201, responses=problems(404))
async def add_suppression(
    body: SuppressionBody, caller: Operator, services: Parts, response: Response
) -> Suppression:
    """Send nothing more to an address or a person over a channel: 200 where that was so already."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number = await find_number(connection, body.subscriber) if body.subscriber else None
        if body.subscriber is not None and number is None:
            raise not_found("subscriber")
        stored, created = await storage.put_suppression(
            connection, body, tenant_id=caller.tenant_id, number=number
        )
        await audit.note(
            connection,
            tenant_id=caller.tenant_id,
            actor=actor_of(caller),
            action="suppression.added",
            target=str(stored.id),
            reason=body.reason,
            details=_details(stored),
        )
    response.status_code = 201 if created else 200
    return stored


@router.delete("/{suppression}", operation_id="removeSuppression", status_code=204, responses=problems(404))
async def remove_suppression(
    suppression: UuidText,
    caller: Operator,
    services: Parts,
    reason: Annotated[str, Query(min_length=1, max_length=500, pattern=r"^[^\x00]*$", description="Why.")],
) -> None:
    """Send to this address or person again; what was skipped meanwhile is not sent."""
    identifier = uuid_or_missing(suppression, what="suppression")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        removed = await storage.remove_suppression(connection, identifier)
        if removed is None:
            raise not_found("suppression")
        await audit.note(
            connection,
            tenant_id=caller.tenant_id,
            actor=actor_of(caller),
            action="suppression.removed",
            target=str(identifier),
            reason=reason,
            details=_details(removed),
        )


def _details(suppression: Suppression) -> dict[str, str | None]:
    return {
        "channel": suppression.channel.value,
        "address": suppression.address,
        "subscriber": suppression.subscriber,
        "reason": suppression.reason.value,
    }


def _looked_up(channel: Channel | None, address: str | None) -> str | None:
    if address is None:
        return None
    kind = channel or (Channel.EMAIL if "@" in address else Channel.WHATSAPP)
    try:
        return normal_address(kind, address)
    except (KeyError, ValueError) as error:
        raise invalid([{"parameter": "address", "detail": "is no address of this channel"}]) from error


def _place(cursor: str | None) -> Place | None:
    key = key_of(cursor)
    if key is None:
        return None
    moment, _, identifier = key.partition(" ")
    try:
        return Place(datetime.fromisoformat(moment), UUID(identifier))
    except ValueError as error:
        raise invalid_cursor() from error
