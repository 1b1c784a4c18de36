"""Reading a feed. Row-level security keeps every statement to the current tenant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection

from carillon_api.inbox.item_sql import IS_READ, IS_SEEN, IS_SHOWN, ITEM_COLUMNS, ITEM_FIELDS
from carillon_api.inbox.models import Counts, Filter, InboxItem

# Which items, and how many of them there are at most: where all is read, nobody looks through all for more.
_FILTERS: dict[Filter, tuple[str, str]] = {
    "all": (IS_SHOWN, "$5"),
    "unread": (f"{IS_SHOWN} AND NOT {IS_READ}", "least($5, f.unread)"),
    "unseen": (f"{IS_SHOWN} AND NOT {IS_SEEN}", "least($5, f.unseen)"),
    "archived": ("i.archived_at IS NOT NULL", "$5"),
    "snoozed": ("i.snoozed_until IS NOT NULL", "$5"),
}

# One statement is one snapshot, so the counts belong to exactly these items.
_PAGE = f"""
SELECT f.unread, f.unseen, f.seq AS feed_seq, i.*
FROM carillon.feeds f
LEFT JOIN LATERAL (
    SELECT {ITEM_COLUMNS} FROM carillon.feed_items i
    WHERE i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber AND i.deleted_at IS NULL
      AND ($2::uuid IS NULL OR i.id < $2) AND ($3::text IS NULL OR i.category = $3)
      AND ($4::text IS NULL OR i.type = $4) AND {{which}}
    ORDER BY i.id DESC LIMIT {{most}}
) AS i ON true
WHERE f.subscriber = $1
ORDER BY i.id DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which items of a feed, and how many."""

    filter: Filter = "all"
    category: str | None = None
    type: str | None = None
    before: UUID | None = None
    limit: int


async def read_page(connection: Connection, number: int, query: PageQuery) -> tuple[list[InboxItem], Counts]:
    """Return the items, newest first, and the counts of the same moment."""
    which, most = _FILTERS[query.filter]
    rows = await connection.fetch(
        _PAGE.format(which=which, most=most),
        number,
        query.before,
        query.category,
        query.type,
        query.limit,
    )
    if not rows:
        return [], Counts()
    counts = Counts(unread=rows[0]["unread"], unseen=rows[0]["unseen"], seq=rows[0]["feed_seq"])
    return [item_of(dict(row)) for row in rows if row["id"] is not None], counts


async def read_counts(connection: Connection, number: int) -> Counts:
    """Return the counts; zeros for a person who has had no item yet."""
    row = await connection.fetchrow(
        "SELECT unread, unseen, seq FROM carillon.feeds WHERE subscriber = $1", number
    )
    return Counts(**row) if row else Counts()


async def read_items(connection: Connection, number: int, ids: list[UUID]) -> list[InboxItem]:
    """Return those of these items that exist and are not deleted, newest first."""
    rows = await connection.fetch(
        f"""SELECT {ITEM_COLUMNS} FROM carillon.feeds f
            JOIN carillon.feed_items i ON i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber
            WHERE f.subscriber = $1 AND i.id = ANY ($2) AND i.deleted_at IS NULL ORDER BY i.id DESC""",
        number,
        ids,
    )
    return [item_of(dict(row)) for row in rows]


def item_of(row: Mapping[str, Any]) -> InboxItem:
    """Return the item in a row that has its columns."""
    return InboxItem.model_validate({name: row[name] for name in ITEM_FIELDS})
