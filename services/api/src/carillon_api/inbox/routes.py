"""`/v1/inbox`: a person's own feed."""

from typing import Annotated
from uuid import UUID

from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Query

from carillon_api.errors import not_found
from carillon_api.inbox import changes
from carillon_api.inbox.changing import Change
from carillon_api.inbox.models import (
    BulkBody,
    ChangedCounts,
    ChangedItem,
    ChangedItems,
    Counts,
    Filter,
    InboxPage,
    ItemChange,
)
from carillon_api.inbox.person import Caller, Parts, number_of
from carillon_api.inbox.reading import PageQuery, read_counts, read_page
from carillon_api.paging import DEFAULT_LIMIT, Cursor, Limit, cut, invalid_cursor, key_of
from carillon_api.problem_responses import problems

router = APIRouter(prefix="/v1", tags=["Recipient"], responses=problems(404))


@router.get("/inbox")
async def list_inbox(
    caller: Caller,
    services: Parts,
    *,
    shown: Annotated[Filter, Query(alias="filter")] = "all",
    category: Annotated[str | None, Query(max_length=128)] = None,
    event_type: Annotated[str | None, Query(alias="type", max_length=128)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> InboxPage:
    """Return a page of your feed, newest first, with the counts of the same moment.

    `all`, `unread` and `unseen` leave out what is archived or snoozed, as the counts do.
    """
    query = PageQuery(
        filter=shown, category=category, type=event_type, before=_before(cursor), limit=limit + 1
    )
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number = await number_of(connection, caller.subscriber)
        items, counts = await read_page(connection, number, query)
    page = cut(items, limit=limit, key=lambda item: str(item.id))
    return InboxPage(data=list(page.rows), next_cursor=page.next_cursor, **counts.model_dump())


@router.get("/inbox/unread-count")
async def unread_count(caller: Caller, services: Parts) -> Counts:
    """Return the badge numbers."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await read_counts(connection, await number_of(connection, caller.subscriber))


@router.patch("/inbox/{item}")
async def change_item(item: UUID, body: ItemChange, caller: Caller, services: Parts) -> ChangedItem:
    """Mark an item read, seen, archived, snoozed, or none of it any more."""
    done = await changes.change(services, caller, Change.asked(body), ids=[item])
    if not done.items:
        raise not_found("item")
    return ChangedItem(item=done.items[0], counts=done.counts)


@router.delete("/inbox/{item}")
async def delete_item(item: UUID, caller: Caller, services: Parts) -> ChangedCounts:
    """Delete an item."""
    done = await changes.change(services, caller, Change(deleted=True), ids=[item])
    if not done.changed:
        raise not_found("item")
    return ChangedCounts(counts=done.counts)


@router.post("/inbox:read-all")
async def read_all(caller: Caller, services: Parts) -> ChangedCounts:
    """Mark everything read, and so seen, by one marker."""
    return ChangedCounts(counts=await changes.mark(services, caller, read=True))


@router.post("/inbox:seen-all")
async def seen_all(caller: Caller, services: Parts) -> ChangedCounts:
    """Mark everything seen, by one marker."""
    return ChangedCounts(counts=await changes.mark(services, caller, read=False))


@router.post("/inbox:archive-read")
async def archive_read(caller: Caller, services: Parts) -> ChangedCounts:
    """Archive everything that is read, as one change."""
    done = await changes.change(services, caller, Change(archived=True), ids=None)
    return ChangedCounts(counts=done.counts)


@router.post("/inbox:bulk")
async def change_items(body: BulkBody, caller: Caller, services: Parts) -> ChangedItems:
    """Change or delete several items at once, as one change.

    The answer has no items for ids that are not there, or not any more.
    """
    done = await changes.change(services, caller, Change.asked(body.set), ids=body.ids)
    return ChangedItems(items=done.items, counts=done.counts)


def _before(cursor: str | None) -> UUID | None:
    key = key_of(cursor)
    try:
        return None if key is None else UUID(key)
    except ValueError as error:
        raise invalid_cursor() from error
