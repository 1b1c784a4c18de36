"""Walks through the events that are on their way, a page at a time."""

from uuid import UUID

import asyncpg
from carillon_shared.db.pool import Connection

_FIRST = UUID(int=0)
# The index holds only events that are on their way.
_PAGE = """
    SELECT id FROM carillon.events
    WHERE status IN ('dispatching', 'dispatched') AND status = 'dispatched' AND id > $1
    ORDER BY id LIMIT $2
"""


class OpenEvents:
    """Each call returns the next page; after the last one it begins again."""

    def __init__(self, *, page: int) -> None:
        self._page = page
        self._after = _FIRST

    async def dispatched(self, connection: Connection) -> list[UUID]:
        """Return the next dispatched events, oldest first."""
        rows: list[asyncpg.Record] = await connection.fetch(_PAGE, self._after, self._page)
        ids: list[UUID] = [row["id"] for row in rows]
        self._after = ids[-1] if len(ids) == self._page else _FIRST
        return ids
