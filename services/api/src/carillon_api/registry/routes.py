"""`/v1/event-types`: what kinds of events there are, and who hears of them how."""

from typing import Annotated

from carillon_shared.content import lint_audience_rule
from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends, Path, Response

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.dry_run import DryRun, writing
from carillon_api.errors import Problem, invalid, not_found
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, key_of
from carillon_api.registry import storage
from carillon_api.registry.models import TYPE_PATTERN, AudienceRule, EventType, EventTypeBody
from carillon_api.services import Services

router = APIRouter(prefix="/v1/event-types", tags=["Registry"])

TypeName = Annotated[str, Path(pattern=TYPE_PATTERN, max_length=128, examples=["ticket.status_changed"])]
Registrar = Annotated[ApiKey, Depends(require_scope("registry:write"))]
Parts = Annotated[Services, Depends(get_services)]


@router.get("")
async def list_event_types(
    caller: Registrar, services: Parts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[EventType]:
    """List the registered event types by name."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_event_types(connection, after=key_of(cursor), limit=limit + 1)
    page = cut(rows, limit=limit, key=lambda row: row.type)
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.put("/{event_type}", responses={201: {"model": EventType}})
async def put_event_type(
    event_type: TypeName,
    body: EventTypeBody,
    response: Response,
    caller: Registrar,
    services: Parts,
    dry_run: DryRun,
) -> EventType:
    """Register an event type, or replace what was registered: 201 when it is new."""
    if body.audience:
        _check_rule(body.audience)
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        stored, created = await storage.put_event_type(
            connection, tenant_id=caller.tenant_id, name=event_type, body=body
        )
    services.event_types.forget(caller.tenant_id, event_type)
    response.status_code = 201 if created else 200
    return stored


@router.get("/{event_type}")
async def get_event_type(event_type: TypeName, caller: Registrar, services: Parts) -> EventType:
    """Return one event type."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.get_event_type(connection, event_type)
    if found is None:
        raise unknown_type()
    return found


@router.delete("/{event_type}", status_code=204)
async def delete_event_type(event_type: TypeName, caller: Registrar, services: Parts) -> None:
    """Delete an event type and its templates. New events of this type are refused from then on."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.delete_event_type(connection, event_type)
    services.event_types.forget(caller.tenant_id, event_type)
    if not found:
        raise unknown_type()


def unknown_type() -> Problem:
    """Nobody has registered this type."""
    return not_found("event type")


def _check_rule(rule: AudienceRule) -> None:
    problems = lint_audience_rule(rule.model_dump(exclude_defaults=True))
    if problems:
        raise invalid([{"pointer": f"/audience{each.pointer}", "detail": each.detail} for each in problems])
