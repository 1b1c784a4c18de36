"""The API as it is, but events are stored nowhere and handed to nobody: what HTTP and validation alone cost.

Keys, tenants and event types are still read from the database, and kept, as always.
"""

import time
from collections.abc import Sequence
from unittest.mock import patch
from uuid import UUID, uuid4

from carillon_api.__main__ import main
from carillon_api.intake.fast_path import FastPath
from carillon_api.intake.rows import IntakeRow, Result, Stored
from carillon_shared.db.pool import Pool


class Nowhere:
    """An `EventStore` that forgets."""

    def __init__(self, _pool: Pool) -> None:
        pass

    async def accept(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        milliseconds = time.time_ns() // 1_000_000
        return [Stored(Result.ACCEPTED, UUID(int=milliseconds << 80 | uuid4().int >> 48)) for _ in rows]

    async def close(self) -> None:
        pass


class Silence(FastPath):
    """Offers nothing to the broker: there is no event that anybody could read."""

    def offer(self, event_id: UUID, row: IntakeRow) -> None:
        pass


if __name__ == "__main__":
    with patch.multiple("carillon_api.parts", PostgresEventStore=Nowhere, FastPath=Silence):
        main()
