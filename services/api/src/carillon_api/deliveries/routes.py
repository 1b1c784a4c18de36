"""`/v1/deliveries`."""

from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import DeliveryStatus
from fastapi import APIRouter, Depends, Query

from carillon_api.authentication.callers import ApiKey
from carillon_api.deliveries import storage
from carillon_api.deliveries.models import Delivery
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import invalid, not_found
from carillon_api.identifiers import UuidText, uuid_in_cursor, uuid_or_missing
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/deliveries", tags=["Deliveries"])

Reader = Annotated[ApiKey, Depends(require_scope("events:read"))]
Parts = Annotated[Services, Depends(get_services)]


def _filter(
    event: Annotated[UUID | None, Query()] = None,
    subscriber: Annotated[str | None, Query(max_length=200)] = None,
    channel: Channel | None = None,
    status: DeliveryStatus | None = None,
) -> storage.DeliveryFilter:
    if subscriber is not None and "\0" in subscriber:
        raise invalid([{"parameter": "subscriber", "detail": "must not contain U+0000"}])
    return storage.DeliveryFilter(event=event, subscriber=subscriber, channel=channel, status=status)


@router.get("", operation_id="listDeliveries")
async def list_deliveries(
    caller: Reader,
    services: Parts,
    wanted: Annotated[storage.DeliveryFilter, Depends(_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[Delivery]:
    """List deliveries with their attempts, those of the newest events first."""
    before = uuid_in_cursor(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_deliveries(
            connection, tenant_id=caller.tenant_id, wanted=wanted, before=before, limit=limit + 1
        )
    page = cut(rows, limit=limit, key=lambda row: str(row.id))
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.get("/{delivery}", operation_id="getDelivery", responses=problems(404))
async def get_delivery(delivery: UuidText, caller: Reader, services: Parts) -> Delivery:
    """Return a delivery with every attempt."""
    delivery_id = uuid_or_missing(delivery, what="delivery")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.get_delivery(connection, tenant_id=caller.tenant_id, delivery_id=delivery_id)
    if found is None:
        raise not_found("delivery")
    return found
