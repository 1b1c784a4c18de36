"""Releases deliveries that were held until now."""

from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.rescued import publish_rescued, rescued

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
        """Release what is due; return how many deliveries were sent on their way."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_RELEASE, self._batch, _AGAIN_SECONDS)
        if not rows:
            return 0
        if await publish_rescued(self._publisher, "hold", [rescued(row) for row in rows]):
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                await connection.execute(_DONE, [row["delivery_id"] for row in rows], rows[0]["due_at"])
        return len(rows)
