"""Tells open streams that feeds have gone on; they read what is new themselves."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from uuid import uuid4

import asyncpg
import structlog
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveChunk, LiveFrame

from carillon_dispatcher.planning.publishing import Publishing

log = structlog.get_logger(__name__)

FRAMES_PER_MESSAGE = 200
"""A frame takes up to 420 bytes of JSON, and a body stays under 100 KB."""


async def tell_streams(publisher: Publishing, feeds: Sequence[asyncpg.Record]) -> None:
    """Announce feeds (`tenant`, `subscriber`, `seq`, `unread`, `unseen`), those of a tenant in a row."""
    if not feeds:
        return
    messages = [live(chunk, message_id=str(uuid4())) for chunk in _chunks(feeds)]
    lost = [error for error in await publisher.publish_many(messages) if error is not None]
    if lost:  # streams find it when they are compared with their feeds
        log.warning("live messages lost", messages=len(lost), reason=str(lost[0]))


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
