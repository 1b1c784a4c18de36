"""`/v1/admin/dead-letters`."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from fastapi import APIRouter, Depends, Query

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import not_found
from carillon_api.identifiers import UuidText, uuid_or_missing
from carillon_api.intake.timestamps import Timestamp
from carillon_api.operators import operations, storage
from carillon_api.operators.models import (
    DeadLetter,
    DeadLetterCount,
    DeadLetterDetail,
    DeadLetterSelection,
)
from carillon_api.operators.preview import preview_of
from carillon_api.operators.storage import DeadLetterFilter, Position
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, invalid_cursor, key_of
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/admin", tags=["Operators"])

Operator = Annotated[ApiKey, Depends(require_scope("operator"))]
Parts = Annotated[Services, Depends(get_services)]
Word = Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")]


def dead_letter_filter(
    *,
    channel: Channel | None = None,
    event_type: Word = None,
    reason: Reason | None = None,
    provider: Word = None,
    since: Annotated[Timestamp | None, Query(description="Dead at this time or later.")] = None,
    until: Annotated[Timestamp | None, Query(description="Dead before this time.")] = None,
) -> DeadLetterFilter:
    """Return the filter of a query."""
    return DeadLetterFilter(channel, event_type, reason, provider, since, until)


@router.get("/dead-letters", operation_id="listDeadLetters", responses=problems())
async def list_dead_letters(
    caller: Operator,
    services: Parts,
    wanted: Annotated[DeadLetterFilter, Depends(dead_letter_filter)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[DeadLetter]:
    """List dead letters with their attempts, newest first."""
    after = _position(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_dead_letters(
            connection, tenant_id=caller.tenant_id, wanted=wanted, after=after, limit=limit + 1
        )
    page = cut(rows, limit=limit, key=lambda row: f"{row.dead_at.isoformat()} {row.id}")
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.get("/dead-letters:count", operation_id="countDeadLetters", responses=problems())
async def count_dead_letters(
    caller: Operator, services: Parts, wanted: Annotated[DeadLetterFilter, Depends(dead_letter_filter)]
) -> DeadLetterCount:
    """Count dead letters by reason."""
    chosen = DeadLetterSelection(**asdict(wanted)).chosen()
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        by_reason = await operations.count(connection, tenant_id=caller.tenant_id, chosen=chosen)
    return DeadLetterCount(total=sum(by_reason.values()), by_reason=by_reason)


@router.get("/dead-letters/{delivery}", operation_id="getDeadLetter", responses=problems(404))
async def get_dead_letter(delivery: UuidText, caller: Operator, services: Parts) -> DeadLetterDetail:
    """Return a dead letter with every attempt, and what it would say if it were sent again now."""
    delivery_id = uuid_or_missing(delivery, what="dead letter")
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.get_dead_letter(connection, tenant_id=caller.tenant_id, delivery_id=delivery_id)
        if found is None:
            raise not_found("dead letter")
        preview = await preview_of(connection, tenant_id=caller.tenant_id, delivery_id=delivery_id)
    return DeadLetterDetail(**dict(found), preview=preview)


def _position(cursor: str | None) -> Position | None:
    key = key_of(cursor)
    if key is None:
        return None
    dead_at, _, identifier = key.partition(" ")
    try:
        moment = datetime.fromisoformat(dead_at)
        place = Position(moment, UUID(identifier))
    except ValueError as error:
        raise invalid_cursor() from error
    if moment.tzinfo is None:
        raise invalid_cursor()
    return place
