"""`/v1/webhook-endpoints`."""

import base64
import secrets
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Depends, Query

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import conflict, not_found
from carillon_api.identifiers import UuidText, uuid_in_cursor, uuid_or_missing
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, invalid_cursor, key_of
from carillon_api.problem_responses import problems
from carillon_api.services import Services
from carillon_api.webhooks import storage
from carillon_api.webhooks.models import (
    CreatedEndpoint,
    Endpoint,
    EndpointChange,
    NewEndpoint,
    Recovered,
    Recovery,
    RotatedSecret,
    WebhookMessage,
)

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["Webhooks"])

Writer = Annotated[ApiKey, Depends(require_scope("registry:write"))]
Parts = Annotated[Services, Depends(get_services)]

MOST_ENDPOINTS = 50
_WHAT = "webhook endpoint"


def _new_secret() -> str:
    """Return a secret as Standard Webhooks writes it: 32 random bytes in base64, with a prefix."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


@router.post("", status_code=201, operation_id="createWebhookEndpoint", responses=problems(409))
async def create_endpoint(wanted: NewEndpoint, caller: Writer, services: Parts) -> CreatedEndpoint:
    """Have outcomes posted to an address, signed (Standard Webhooks). The secret is shown this once."""
    secret = _new_secret()
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        if await storage.count(connection, tenant_id=caller.tenant_id) >= MOST_ENDPOINTS:
            raise conflict(f"A tenant has at most {MOST_ENDPOINTS} webhook endpoints.", slug="too-many")
        made = await storage.create(connection, tenant_id=caller.tenant_id, wanted=wanted, secret=secret)
    return CreatedEndpoint(**dict(made), secret=secret)


@router.get("", operation_id="listWebhookEndpoints")
async def list_endpoints(
    caller: Writer, services: Parts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Endpoint]:
    """List endpoints."""
    after = uuid_in_cursor(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.listed(connection, tenant_id=caller.tenant_id, after=after, limit=limit + 1)
    page = cut(rows, limit=limit, key=lambda row: str(row.id))
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.get("/{endpoint}", operation_id="getWebhookEndpoint", responses=problems(404))
async def get_endpoint(endpoint: UuidText, caller: Writer, services: Parts) -> Endpoint:
    """Return an endpoint. Its secret is not shown again."""
    endpoint_id = uuid_or_missing(endpoint, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return _found(await storage.find(connection, tenant_id=caller.tenant_id, endpoint=endpoint_id))


@router.patch("/{endpoint}", operation_id="changeWebhookEndpoint", responses=problems(404))
async def change_endpoint(
    endpoint: UuidText, wanted: EndpointChange, caller: Writer, services: Parts
) -> Endpoint:
    """Change an endpoint. What waits for one that is disabled has failed, and can be recovered."""
    endpoint_id = uuid_or_missing(endpoint, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        changed = await storage.change(
            connection, tenant_id=caller.tenant_id, endpoint=endpoint_id, wanted=wanted
        )
    return _found(changed)


@router.delete("/{endpoint}", status_code=204, operation_id="deleteWebhookEndpoint", responses=problems(404))
async def delete_endpoint(endpoint: UuidText, caller: Writer, services: Parts) -> None:
    """Remove an endpoint, and all that waits for it."""
    endpoint_id = uuid_or_missing(endpoint, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        if not await storage.remove(connection, tenant_id=caller.tenant_id, endpoint=endpoint_id):
            raise not_found(_WHAT)


@router.post("/{endpoint}:rotate-secret", operation_id="rotateWebhookSecret", responses=problems(404))
async def rotate_secret(endpoint: UuidText, caller: Writer, services: Parts) -> RotatedSecret:
    """Sign with a new secret. For a day posts carry a signature with the old one as well."""
    endpoint_id, secret = uuid_or_missing(endpoint, what=_WHAT), _new_secret()
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        until = await storage.rotate(
            connection, tenant_id=caller.tenant_id, endpoint=endpoint_id, secret=secret
        )
    if until is None:
        raise not_found(_WHAT)
    return RotatedSecret(secret=secret, old_secret_until=until)


@router.post("/{endpoint}:recover", operation_id="recoverWebhooks", responses=problems(404, 409))
async def recover(endpoint: UuidText, wanted: Recovery, caller: Writer, services: Parts) -> Recovered:
    """Post again what has failed since a time, also while the endpoint was disabled."""
    endpoint_id = uuid_or_missing(endpoint, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = _found(await storage.find(connection, tenant_id=caller.tenant_id, endpoint=endpoint_id))
        if not found.enabled:
            raise conflict("The endpoint is disabled; enable it first.", slug="endpoint-disabled")
        count = await storage.recover(
            connection, tenant_id=caller.tenant_id, endpoint=endpoint_id, since=wanted.since
        )
    return Recovered(recovered=count)


@router.post(
    "/{endpoint}:test", status_code=202, operation_id="testWebhookEndpoint", responses=problems(404, 409)
)
async def send_test(endpoint: UuidText, caller: Writer, services: Parts) -> dict[str, UUID]:
    """Post a message of the type `test`. Its `message_id` is found among the endpoint's messages."""
    endpoint_id = uuid_or_missing(endpoint, what=_WHAT)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        _found(await storage.find(connection, tenant_id=caller.tenant_id, endpoint=endpoint_id))
        message = await storage.add_test_message(connection, tenant_id=caller.tenant_id, endpoint=endpoint_id)
    if message is None:
        raise conflict("The endpoint is disabled; enable it first.", slug="endpoint-disabled")
    return {"message_id": message}


@router.get("/{endpoint}/messages", operation_id="listWebhookMessages", responses=problems(404))
async def list_messages(
    endpoint: UuidText,
    caller: Writer,
    services: Parts,
    status: Annotated[Literal["waiting", "delivered", "failed"] | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[WebhookMessage]:
    """List what was posted, waits or has failed, newest first."""
    endpoint_id, before = uuid_or_missing(endpoint, what=_WHAT), _place(cursor)
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        _found(await storage.find(connection, tenant_id=caller.tenant_id, endpoint=endpoint_id))
        rows = await storage.messages(
            connection,
            tenant_id=caller.tenant_id,
            endpoint=endpoint_id,
            status=status,
            before=before,
            limit=limit + 1,
        )
    page = cut(rows, limit=limit, key=lambda row: f"{row.created_at.isoformat()} {row.id}")
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


def _place(cursor: str | None) -> tuple[datetime, UUID] | None:
    key = key_of(cursor)
    if key is None:
        return None
    moment, _, identifier = key.partition(" ")
    try:
        return datetime.fromisoformat(moment), UUID(identifier)
    except ValueError as error:
        raise invalid_cursor() from error


def _found(endpoint: Endpoint | None) -> Endpoint:
    if endpoint is None:
        raise not_found(_WHAT)
    return endpoint
