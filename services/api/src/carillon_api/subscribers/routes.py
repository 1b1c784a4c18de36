"""`/v1/subscribers`: the people who can be addressed."""

from datetime import timedelta
from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Body, Query, Response

from carillon_api.dry_run import DryRun, writing
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, key_of
from carillon_api.preferences import documents
from carillon_api.preferences.effective import EffectivePreferences, read_effective
from carillon_api.preferences.quiet_hours import OwnPreferences
from carillon_api.subscribers import erasing, storage
from carillon_api.subscribers.models import Subscriber, SubscriberBody, Token, TokenBody
from carillon_api.subscribers.people import (
    Parts,
    Registrar,
    SubscriberId,
    existing_number,
    unknown_subscriber,
)

router = APIRouter(prefix="/v1/subscribers", tags=["Subscribers"])


@router.get("")
async def list_subscribers(
    caller: Registrar, services: Parts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Subscriber]:
    """List registered people by id."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_subscribers(connection, after=key_of(cursor), limit=limit + 1)
    page = cut(rows, limit=limit, key=lambda row: row.id)
    return Page(data=list(page.rows), next_cursor=page.next_cursor)


@router.put("/{subscriber}", responses={201: {"model": Subscriber}})
async def put_subscriber(
    subscriber: SubscriberId,
    body: SubscriberBody,
    response: Response,
    caller: Registrar,
    services: Parts,
    dry_run: DryRun,
) -> Subscriber:
    """Register a person, or replace what is known of them: 201 when they are new."""
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        created = await storage.put_subscriber(
            connection, tenant_id=caller.tenant_id, subscriber=subscriber, body=body
        )
        stored = await storage.get_subscriber(connection, subscriber)
    if stored is None:  # deleted by somebody else in between
        raise unknown_subscriber()
    response.status_code = 201 if created else 200
    return stored


@router.get("/{subscriber}")
async def get_subscriber(subscriber: SubscriberId, caller: Registrar, services: Parts) -> Subscriber:
    """Return a person with roles and topics."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.get_subscriber(connection, subscriber)
    if found is None:
        raise unknown_subscriber()
    return found


@router.delete("/{subscriber}", status_code=204)
async def delete_subscriber(
    subscriber: SubscriberId,
    caller: Registrar,
    services: Parts,
    erase: Annotated[bool, Query(description="Whether every trace of the person goes.")] = False,  # noqa: FBT002 - a query's parameter
) -> None:
    """Forget a person: addresses, roles, topics and preferences.

    With `erase`, every trace of them: feed, what was rendered, what providers said, and their id, addresses
    and names in events and in what others were shown. That something was sent stays, under a name that says
    nothing.
    """
    if erase:
        if not await erasing.erase(services, caller, subscriber):
            raise unknown_subscriber()
        return
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.delete_subscriber(connection, subscriber)
    if not found:
        raise unknown_subscriber()


@router.post("/{subscriber}/tokens", status_code=201)
async def mint_token(
    subscriber: SubscriberId,
    caller: Registrar,
    services: Parts,
    body: Annotated[TokenBody | None, Body()] = None,
) -> Token:
    """Return a token that lets this person into their own inbox for at most an hour."""
    asked = body or TokenBody()
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        await existing_number(connection, subscriber)
    token, expires_at = services.subscriber_tokens.mint(
        tenant=caller.tenant,
        subscriber=subscriber,
        lifetime=timedelta(seconds=asked.expires_in),
        topics=asked.topics,
    )
    return Token(token=token, expires_at=expires_at)


@router.get("/{subscriber}/preferences", response_model_exclude_none=True)
async def get_preferences(subscriber: SubscriberId, caller: Registrar, services: Parts) -> OwnPreferences:
    """Return what a person chose."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await documents.read(connection, await existing_number(connection, subscriber))


@router.get("/{subscriber}/preferences/effective")
async def get_effective(subscriber: SubscriberId, caller: Registrar, services: Parts) -> EffectivePreferences:
    """Return what holds for a person in the end, for every event type and channel, and whose choice it is."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await read_effective(connection, await existing_number(connection, subscriber))


@router.put("/{subscriber}/preferences", response_model_exclude_none=True)
async def put_preferences(
    subscriber: SubscriberId, body: OwnPreferences, caller: Registrar, services: Parts, dry_run: DryRun
) -> OwnPreferences:
    """Replace what a person chose. Quiet hours and mutes left out stay as they are; null removes them."""
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        number = await existing_number(connection, subscriber)
        return await documents.replace(connection, body, tenant_id=caller.tenant_id, number=number)
