"""A person's own feed."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID

from carillon_client.blocking.following import TokenSource
from carillon_client.blocking.wire import Wire
from carillon_client.call import Call, Page, as_person, next_page
from carillon_client.errors import UnauthorizedError
from carillon_client.feed import ChangedCounts, ChangedItem, ChangedItems, Counts, InboxItem
from carillon_client.requests import inbox

T = TypeVar("T")
Shown = Literal["all", "unread", "unseen", "archived", "snoozed"]


class Inbox:
    """`/v1/inbox` of one person. Every change answers with the counts after it."""

    def __init__(self, wire: Wire, tokens: TokenSource) -> None:
        self._wire = wire
        self._tokens = tokens
        self._token: str | None = None

    def list(
        self,
        filter: Shown = "all",  # noqa: A002 - the parameter's public name
        *,
        category: str | None = None,
        type: str | None = None,  # noqa: A002 - the parameter's public name
    ) -> Iterator[InboxItem]:
        """Yield items, newest first, page by page."""
        call = inbox.list_items(filter=filter, category=category, type=type)
        following: Call[Page[InboxItem]] | None = call
        while following is not None:
            page = self._perform(following)
            yield from page.rows
            following = next_page(following, page)

    def counts(self) -> Counts:
        """Return the badge numbers."""
        return self._perform(inbox.counts())

    def change(self, item: UUID | str, **wanted: Any) -> ChangedItem:
        """Change an item: `read`, `seen`, `archived` (true or false), `snoozed_until` (a time or None)."""
        return self._perform(inbox.change(item, wanted))

    def change_many(self, items: Sequence[UUID | str], **wanted: Any) -> ChangedItems:
        """Change several items at once, as `change` does; `deleted=True` deletes them."""
        return self._perform(inbox.change_many(items, wanted))

    def delete(self, item: UUID | str) -> ChangedCounts:
        """Delete an item. Raises `NotFoundError`."""
        return self._perform(inbox.delete(item))

    def read_all(self) -> ChangedCounts:
        """Mark everything read."""
        return self._perform(inbox.mark_all("read-all"))

    def seen_all(self) -> ChangedCounts:
        """Mark everything seen."""
        return self._perform(inbox.mark_all("seen-all"))

    def archive_read(self) -> ChangedCounts:
        """Archive what is read."""
        return self._perform(inbox.mark_all("archive-read"))

    def _perform(self, call: Call[T]) -> T:
        """Perform a call as the person; with another token, once, when the last one has expired."""
        if self._token is not None:
            try:
                return self._wire.perform(as_person(call, self._token))
            except UnauthorizedError:
                pass
        self._token = self._tokens()
        return self._wire.perform(as_person(call, self._token))
