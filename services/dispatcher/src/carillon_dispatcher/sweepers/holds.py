"""Releases deliveries that were held until now, one by one or gathered in digests."""

from collections.abc import Sequence

import asyncpg
from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.rescued import publish_rescued, rescued

_RELEASE_DIGESTS = "SELECT * FROM carillon.release_digests($1, $2)"
_RELEASE = "SELECT * FROM carillon.release_holds($1, $2)"
# Only the rows this release left: the delivery may have been held anew meanwhile.
_DONE = """
    DELETE FROM carillon.due WHERE delivery_id = ANY ($1) AND due_at = $2 AND kind = 'hold'
"""
_AGAIN_SECONDS = 60.0


class DueHolds:
    """The rules decide again: some are sent now, some end here, some wait on for their slot."""

    def __init__(self, pool: Pool, publisher: Publishing, *, batch: int) -> None:
        self._pool = pool
        self._publisher = publisher
        self._batch = batch

    async def release(self) -> int:
        """Release what is due; return how many deliveries were sent on their way.

        Digests first: of one that has a single member, it is that member which is released.
        """
        released = 0
        for what, statement in (("digest", _RELEASE_DIGESTS), ("hold", _RELEASE)):
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                rows = await connection.fetch(statement, self._batch, _AGAIN_SECONDS)
            await self._publish(what, rows)
            released += len(rows)
        return released

    async def _publish(self, what: str, rows: Sequence[asyncpg.Record]) -> None:
        if rows and await publish_rescued(self._publisher, what, [rescued(row) for row in rows]):
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                await connection.execute(_DONE, [row["delivery_id"] for row in rows], rows[0]["due_at"])
