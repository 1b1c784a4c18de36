"""A person's own feed."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from carillon_client.call import Call, Page, get, listing, place, writing
from carillon_client.feed import ChangedCounts, ChangedItem, ChangedItems, Counts, InboxItem


def list_items(*, filter: str, category: str | None, type: str | None) -> Call[Page[InboxItem]]:  # noqa: A002 - their public names
    """Read items, newest first."""
    query = {"filter": filter, "category": category, "type": type}
    return listing("/v1/inbox", InboxItem, query=query)


def counts() -> Call[Counts]:
    """Read the badge numbers."""
    return get("/v1/inbox/unread-count", Counts)


def change(item: UUID | str, wanted: Mapping[str, Any]) -> Call[ChangedItem]:
    """Change an item. Saying it twice changes nothing more."""
    return writing("PATCH", place("inbox", item), ChangedItem, body=wanted)


def delete(item: UUID | str) -> Call[ChangedCounts]:
    """Delete an item."""
    return writing("DELETE", place("inbox", item), ChangedCounts)


def mark_all(verb: str) -> Call[ChangedCounts]:
    """Do `read-all`, `seen-all` or `archive-read`."""
    return writing("POST", f"/v1/inbox:{verb}", ChangedCounts)


def change_many(items: Sequence[UUID | str], wanted: Mapping[str, Any]) -> Call[ChangedItems]:
    """Change several items at once."""
    body = {"ids": [str(item) for item in items], "set": wanted}
    return writing("POST", "/v1/inbox:bulk", ChangedItems, body=body)
