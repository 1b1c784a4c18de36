"""Who opens streams: looked up for many at once, because after a restart everybody comes back together."""

import asyncio
from dataclasses import dataclass

from carillon_shared.db.pool import Pool, tenant_transaction

_AT_ONCE = 1_000

_FIND = """
SELECT s.id, s.number, ARRAY(
    SELECT m.name FROM carillon.memberships m
    WHERE m.tenant_id = s.tenant_id AND m.subscriber = s.number AND m.kind = 'topic') AS topics
FROM carillon.subscribers s WHERE s.id = ANY ($1::text[]) AND s.registered
"""


@dataclass(frozen=True, slots=True)
class Known:
    """A registered person: number, and the topics they follow."""

    number: int
    topics: frozenset[str]


class People:
    """Finds registered people. While one statement runs, who comes meanwhile waits for the next."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[int, dict[str, asyncio.Future[Known | None]]] = {}
        self._serving: asyncio.Task[None] | None = None

    async def find(self, tenant_id: int, subscriber: str) -> Known | None:
        """Return the person; None when nobody has registered them. Raises what the database raises."""
        asked = self._waiting.setdefault(tenant_id, {})
        if subscriber not in asked:
            asked[subscriber] = asyncio.get_running_loop().create_future()
        answer = asked[subscriber]
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="stream-people")
        return await asyncio.shield(answer)

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._answer(*self._next())
        finally:
            self._serving = None

    def _next(self) -> tuple[int, dict[str, asyncio.Future[Known | None]]]:
        """Return whom to look up now: the first tenant's people, the rest of a crowd going to the end."""
        tenant_id = next(iter(self._waiting))
        asked = list(self._waiting.pop(tenant_id).items())
        if asked[_AT_ONCE:]:
            self._waiting[tenant_id] = dict(asked[_AT_ONCE:])
        return tenant_id, dict(asked[:_AT_ONCE])

    async def _answer(self, tenant_id: int, asked: dict[str, asyncio.Future[Known | None]]) -> None:
        try:
            found = await self._find(tenant_id, list(asked))
        except Exception as error:  # noqa: BLE001 - each who waits is told, as if they had asked themselves
            for answer in asked.values():
                answer.set_exception(error)
                answer.exception()  # everybody may have gone; an error that nobody reads is no error
            return
        for subscriber, answer in asked.items():
            answer.set_result(found.get(subscriber))

    async def _find(self, tenant_id: int, ids: list[str]) -> dict[str, Known]:
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(_FIND, ids)
        return {row["id"]: Known(row["number"], frozenset(row["topics"])) for row in rows}
