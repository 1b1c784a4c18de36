"""Acts on receipts that came while their delivery was still being sent."""

from carillon_shared.db.pool import CONNECT_SECONDS, Pool

_APPLY = "SELECT carillon.apply_pending_receipts($1)"


class PendingReceipts:
    """Failures that had to wait: a delivery that is being sent has to come to an end first."""

    def __init__(self, pool: Pool, *, batch: int) -> None:
        self._pool = pool
        self._batch = batch

    async def apply(self) -> int:
        """Act on those whose delivery is not being sent any more; return how many that were."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            return int(await connection.fetchval(_APPLY, self._batch))
