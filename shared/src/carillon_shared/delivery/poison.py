"""Messages that cannot be read, kept so that a person can look at them."""

from collections.abc import Awaitable, Callable

from carillon_shared.broker.incoming import Incoming
from carillon_shared.db.pool import CONNECT_SECONDS, Pool

_MAX_BODY = 65_536
_KEEP = """
    INSERT INTO carillon.poison_messages (queue, message_id, message_type, body, error)
    VALUES ($1, $2, $3, $4, $5)
"""


class PoisonStore:
    """The table of unreadable messages."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, queue: str, incoming: Incoming, error: str) -> None:
        """Store the message, its body up to 64 KiB. Raises what asyncpg raises."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(
                _KEEP,
                queue,
                _text(incoming.message_id),
                _text(incoming.type),
                incoming.body[:_MAX_BODY],
                _text(error),
            )

    def keeper(self, queue: str) -> Callable[[Incoming, Exception], Awaitable[None]]:
        """Return a function that keeps messages of one queue."""

        async def keep(incoming: Incoming, error: Exception) -> None:
            await self.keep(queue, incoming, str(error))

        return keep


def _text(words: str | None) -> str | None:
    """Take out what PostgreSQL cannot store: keeping what is poison must not fail for the same reason."""
    return None if words is None else words.replace("\0", "").encode(errors="replace").decode()
