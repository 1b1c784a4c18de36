"""A person's own feed."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

from carillon_client.aio.following import TokenSource
from carillon_client.aio.wire import AsyncWire
from carillon_client.call import Call, Page, as_person, next_page
from carillon_client.errors import UnauthorizedError
from carillon_client.feed import ChangedCounts, ChangedItem, ChangedItems, Counts, InboxItem
from carillon_client.requests import inbox

T = TypeVar("T")
Shown = Literal["all", "unread", "unseen", "archived", "snoozed"]


class AsyncInbox:
    """`/v1/inbox` of one person. Every change answers with the counts after it."""

    def __init__(self, wire: AsyncWire, tokens: TokenSource) -> None:
        self._wire = wire
        self._tokens = tokens
        self._token: str | None = None

    async def list(
        self,
        filter: Shown = "all",  # noqa: A002 - the parameter's public name
        *,
        category: str | None = None,
        type: str | None = None,  # noqa: A002 - the parameter's public name
    ) -> AsyncIterator[InboxItem]:
        """Yield items, newest first, page by page."""
        call = inbox.list_items(filter=filter, category=category, type=type)
        following: Call[Page[InboxItem]] | None = call
        while following is not None:
            page = await self._perform(following)
            for item in page.rows:
                yield item
            following = next_page(following, page)

    async def counts(self) -> Counts:
        """Return the badge numbers."""
        return await self._perform(inbox.counts())

    async def change(self, item: UUID | str, **wanted: Any) -> ChangedItem:
        """Change an item: `read`, `seen`, `archived` (true or false), `snoozed_until` (a time or None)."""
        return await self._perform(inbox.change(item, wanted))

    async def change_many(self, items: Sequence[UUID | str], **wanted: Any) -> ChangedItems:
        """Change several items at once, as `change` does; `deleted=True` deletes them."""
        return await self._perform(inbox.change_many(items, wanted))

    async def delete(self, item: UUID | str) -> ChangedCounts:
        """Delete an item. Raises `NotFoundError`."""
        return await self._perform(inbox.delete(item))

    async def read_all(self) -> ChangedCounts:
        """Mark everything read."""
        return await self._perform(inbox.mark_all("read-all"))

    async def seen_all(self) -> ChangedCounts:
        """Mark everything seen."""
        return await self._perform(inbox.mark_all("seen-all"))

    async def archive_read(self) -> ChangedCounts:
        """Archive what is read."""
        return await self._perform(inbox.mark_all("archive-read"))

    async def _perform(self, call: Call[T]) -> T:
        """Perform a call as the person; with another token, once, when the last one has expired."""
        if self._token is not None:
            try:
                return await self._wire.perform(as_person(call, self._token))
            except UnauthorizedError:
                pass
        self._token = await self._tokens()
        return await self._wire.perform(as_person(call, self._token))
