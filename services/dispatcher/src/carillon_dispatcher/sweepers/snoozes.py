"""Wakes what people snoozed, and tells their open streams."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from uuid import uuid4

import asyncpg
import structlog
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveChunk, LiveFrame
from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_dispatcher.planning.publishing import Publishing

log = structlog.get_logger(__name__)

FRAMES_PER_MESSAGE = 200
"""A frame takes up to 420 bytes of JSON, and a body stays under 100 KB."""

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
        if feeds:
            messages = [live(chunk, message_id=str(uuid4())) for chunk in _chunks(feeds)]
            lost = [error for error in await self._publisher.publish_many(messages) if error is not None]
            if lost:  # streams find it when they are compared with their feeds
                log.warning("live messages lost", messages=len(lost), reason=str(lost[0]))
        return len(feeds)


def _chunks(feeds: Sequence[asyncpg.Record]) -> Iterator[LiveChunk]:
    """Return what tells streams that their feed went on; they read the items themselves."""
    for tenant, rows in groupby(feeds, key=lambda row: str(row["tenant"])):
        frames = [_frame(row) for row in rows]
        for start in range(0, len(frames), FRAMES_PER_MESSAGE):
            part = frames[start : start + FRAMES_PER_MESSAGE]
            yield LiveChunk(tenant=tenant, event="update", tails=[{}], frames=part)


def _frame(row: asyncpg.Record) -> LiveFrame:
    return LiveFrame(
        subscriber=row["subscriber"], seq=row["seq"], unread=row["unread"], unseen=row["unseen"], tail=0
    )
