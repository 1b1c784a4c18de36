"""Dead letters that the broker's own tools put into a work queue (a shovel, "move messages")."""

from collections.abc import Sequence

import structlog

from carillon_shared.contracts.messages import DeadDelivery
from carillon_shared.db.pool import CONNECT_SECONDS, Pool

log = structlog.get_logger(__name__)

_NOTE = "SELECT carillon.note_moved($1, $2, $3)"


class MovedLetters:
    """Writes down that these are to be sent again. The dispatcher decides about each, as for every replay."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def note(self, queue: str, messages: Sequence[DeadDelivery]) -> None:
        """Note what was moved to this queue. Raises what asyncpg raises."""
        if not messages:
            return
        ids = [message.delivery_id for message in messages]
        attempts = [message.attempt for message in messages]
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(_NOTE, ids, attempts, queue)
        log.info("dead_letters_moved", queue=queue, messages=len(messages))
