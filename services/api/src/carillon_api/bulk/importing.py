"""People from a body into the database, batch by batch: each one unit of work."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson

from carillon_api.bulk import storage
from carillon_api.bulk.lines import CheckedLine
from carillon_api.dry_run import writing
from carillon_api.errors import Problem
from carillon_api.services import Services

MAX_LINES: Final = 50_000
MAX_BYTES: Final = 32 * 1024**2

_BATCH_LINES = 500
_BATCH_BYTES = 4 * 1024**2
_AT_A_TIME = 25  # lines checked in one go; others of the process have a turn in between
_STATES = ("created", "updated", "unchanged", "refused")


class Import:
    """The import of one body: what it holds is a batch, and a short line about each one before."""

    def __init__(self, services: Services, *, tenant_id: int, dry_run: bool) -> None:
        self.counts: Counter[str] = Counter()
        self._services = services
        self._tenant_id = tenant_id
        self._dry_run = dry_run
        self._batch: list[CheckedLine] = []
        self._ids: set[str] = set()
        self._size = 0
        self._written: list[bytes] = []

    async def run(self, lines: AsyncIterator[CheckedLine]) -> bytes:
        """Store all lines and return the answer. Raises `Problem` 413 for too many, after those before."""
        read = 0
        async for line in lines:
            read += 1
            if read > MAX_LINES:
                raise await self._too_many()
            await self._take(line)
            if read % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        await self._flush()
        return self._answer()

    async def _take(self, line: CheckedLine) -> None:
        is_full = len(self._batch) >= _BATCH_LINES or self._size + line.size > _BATCH_BYTES
        if self._batch and (
            is_full or line.id in self._ids
        ):  # of two lines for one person, the later one wins
            await self._flush()
        self._batch.append(line)
        self._size += line.size
        if line.id is not None:
            self._ids.add(line.id)

    async def _flush(self) -> None:
        people = [line.document for line in self._batch if line.problem is None]
        became: dict[str, str] = {}
        if people:
            async with (
                self._services.import_turns,
                writing(self._services.pool, self._tenant_id, dry_run=self._dry_run) as connection,
            ):
                became = await storage.put_people(connection, tenant_id=self._tenant_id, people=people)
        rows = [_row(line, became) for line in self._batch]
        self.counts.update(row["status"] for row in rows)
        if rows:
            self._written.append(orjson.dumps(rows)[1:-1])
        self._batch, self._ids, self._size = [], set(), 0

    async def _too_many(self) -> Problem:
        await self._flush()
        detail = f"At most {MAX_LINES} lines are taken at once; all before that were."
        return Problem("too-many", "There are too many lines.", 413, detail)

    def _counted(self) -> dict[str, int]:
        return {state: self.counts[state] for state in _STATES}

    def _answer(self) -> bytes:
        return orjson.dumps(self._counted())[:-1] + b',"data":[' + b",".join(self._written) + b"]}"


def _row(line: CheckedLine, became: dict[str, str]) -> dict[str, Any]:
    if line.problem is None and line.id is not None:
        return {"line": line.line, "id": line.id, "status": became[line.id]}
    problem = line.problem.document() if line.problem else None
    return {"line": line.line, "id": line.id, "status": "refused", "problem": problem}
