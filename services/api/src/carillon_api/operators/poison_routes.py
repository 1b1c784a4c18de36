"""`/v1/admin/poison-messages`. They belong to no tenant, so they are for those who run the platform."""

from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends, Query

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import not_found
from carillon_api.operators import audit, poison
from carillon_api.operators.operation_routes import actor_of, place_of
from carillon_api.operators.poison import PoisonDiscard, PoisonDiscarded, PoisonFilter, PoisonMessage
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/admin", tags=["Operators"])

Admin = Annotated[ApiKey, Depends(require_scope("admin"))]
Parts = Annotated[Services, Depends(get_services)]

_MAX_BIGINT = 2**63 - 1
_SHOWN_IDS = 100


@router.get("/poison-messages", operation_id="listPoisonMessages", responses=problems())
async def list_poison_messages(
    caller: Admin,
    services: Parts,
    queue: Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[PoisonMessage]:
    """List messages that could not be handled, newest first. For the scope `admin`: they are no tenant's."""
    wanted = PoisonFilter(before=place_of(cursor), queue=queue)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await poison.list_poison(connection, wanted, limit=limit + 1)
    page = cut(rows, limit=limit, key=lambda row: str(row.id))
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.get("/poison-messages/{message}", operation_id="getPoisonMessage", responses=problems(404))
async def get_poison_message(message: str, caller: Admin, services: Parts) -> PoisonMessage:
    """Return one of them with its body."""
    if not message.isascii() or not message.isdigit() or int(message) > _MAX_BIGINT:
        raise not_found("poison message")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await poison.get_poison(connection, int(message))
    if found is None:
        raise not_found("poison message")
    return found


@router.post("/poison-messages:discard", operation_id="discardPoisonMessages", responses=problems())
async def discard_poison_messages(wanted: PoisonDiscard, caller: Admin, services: Parts) -> PoisonDiscarded:
    """Discard messages for good."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        ids = await poison.discard_poison(connection, wanted)
        await audit.note(
            connection,
            tenant_id=caller.tenant_id,
            actor=actor_of(caller),
            action="poison.discarded",
            target=wanted.queue or "poison-messages",
            reason=wanted.reason,
            details={"discarded": len(ids), "ids": sorted(ids)[:_SHOWN_IDS]},
        )
    return PoisonDiscarded(discarded=len(ids))
