"""Roles and topics: who belongs to them."""

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter
from pydantic import BaseModel

from carillon_api.authentication.callers import ApiKey
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, Page, cut, key_of
from carillon_api.services import Services
from carillon_api.subscribers import storage
from carillon_api.subscribers.people import (
    Parts,
    Registrar,
    RoleName,
    SubscriberId,
    TopicName,
    existing_number,
)
from carillon_api.subscribers.storage import MembershipKind

router = APIRouter(prefix="/v1", tags=["Subscribers"])


class Member(BaseModel):
    """Somebody who has a role or follows a topic."""

    id: str


@router.get("/roles/{role}/members")
async def list_role(
    role: RoleName, caller: Registrar, services: Parts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Member]:
    """List those who have a role."""
    return await _members(services, caller, kind="role", name=role, limit=limit, cursor=cursor)


@router.put("/roles/{role}/members/{subscriber}", status_code=204)
async def give_role(role: RoleName, subscriber: SubscriberId, caller: Registrar, services: Parts) -> None:
    """Give somebody a role."""
    await _add(services, caller, kind="role", name=role, subscriber=subscriber)


@router.delete("/roles/{role}/members/{subscriber}", status_code=204)
async def take_role(role: RoleName, subscriber: SubscriberId, caller: Registrar, services: Parts) -> None:
    """Take a role from somebody."""
    await _remove(services, caller, kind="role", name=role, subscriber=subscriber)


@router.get("/topics/{topic}/subscribers")
async def list_topic(
    topic: TopicName, caller: Registrar, services: Parts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[Member]:
    """List those who follow a topic."""
    return await _members(services, caller, kind="topic", name=topic, limit=limit, cursor=cursor)


@router.put("/topics/{topic}/subscribers/{subscriber}", status_code=204)
async def follow(topic: TopicName, subscriber: SubscriberId, caller: Registrar, services: Parts) -> None:
    """Let somebody follow a topic."""
    await _add(services, caller, kind="topic", name=topic, subscriber=subscriber)


@router.delete("/topics/{topic}/subscribers/{subscriber}", status_code=204)
async def unfollow(topic: TopicName, subscriber: SubscriberId, caller: Registrar, services: Parts) -> None:
    """End somebody's following a topic."""
    await _remove(services, caller, kind="topic", name=topic, subscriber=subscriber)


async def _members(
    services: Services, caller: ApiKey, *, kind: MembershipKind, name: str, limit: int, cursor: str | None
) -> Page[Member]:
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        rows = await storage.list_members(
            connection, kind=kind, name=name, after=key_of(cursor), limit=limit + 1
        )
    page = cut(rows, limit=limit, key=str)
    return Page(data=[Member(id=row) for row in page.rows], next_cursor=page.next_cursor)


async def _add(
    services: Services, caller: ApiKey, *, kind: MembershipKind, name: str, subscriber: str
) -> None:
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number = await existing_number(connection, subscriber)
        await storage.add_member(connection, tenant_id=caller.tenant_id, kind=kind, name=name, number=number)


async def _remove(
    services: Services, caller: ApiKey, *, kind: MembershipKind, name: str, subscriber: str
) -> None:
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number = await existing_number(connection, subscriber)
        await storage.remove_member(connection, kind=kind, name=name, number=number)
