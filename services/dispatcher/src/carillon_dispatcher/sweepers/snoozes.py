"""Wakes what people snoozed, and tells their open streams."""

from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.changed_feeds import tell_streams

_WAKE = "SELECT * FROM carillon.wake_snoozed($1) ORDER BY tenant"


class Snoozes:
    """Brings items back into their feeds at the time that their person chose."""

    def __init__(self, pool: Pool, publisher: Publishing, *, batch: int) -> None:
        self._pool = pool
        self._publisher = publisher
        self._batch = batch

    async def wake(self) -> int:
        """Wake what is due; return how many feeds have changed by it."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            feeds = await connection.fetch(_WAKE, self._batch)
        await tell_streams(self._publisher, feeds)
        return len(feeds)
