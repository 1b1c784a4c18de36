"""The feed in PostgreSQL: fence, counters and items in one statement, for a whole batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from carillon_shared.content import ContentError, RenderedInapp
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.delivery.work import Chunk
from carillon_shared.domain.delivery import EventContent, Recipient

PROVIDER = "feed"

_RECIPIENTS = "SELECT * FROM carillon.recipients($1, $2, $3)"
_WRITE = "SELECT * FROM carillon.write_feed($1, $2, $3, $4, $5, $6, $7, $8)"
_BURY = "SELECT id FROM carillon.bury($1, $2, $3, $4, $5, $6, $7, $8, $9)"


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom an item is for, and the data that an operator corrected for this item alone, if one has."""

    recipient: Recipient
    own_data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A rendered item that is not in a feed yet."""

    chunk: Chunk
    id: UUID
    event: EventContent
    content: RenderedInapp


@dataclass(frozen=True, slots=True)
class Failure:
    """A delivery that cannot be rendered."""

    chunk: Chunk
    id: UUID
    error: ContentError


@dataclass(frozen=True, slots=True)
class Written:
    """An item as it stands in its subscriber's feed, with the counts after it."""

    draft: Draft
    subscriber: str
    priority: str
    seq: int
    unread: int
    unseen: int
    item_id: UUID
    created_at: datetime


class FeedStore:
    """Writes feeds, for every tenant."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def recipients(self, ids: Sequence[UUID]) -> dict[UUID, Addressee]:
        """Return who these deliveries are for. One that no longer exists is missing."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_RECIPIENTS, ids, min(ids), max(ids))
        return {row["id"]: Addressee(_recipient(row), row["own_data"]) for row in rows}

    async def write(self, drafts: Sequence[Draft]) -> list[Written]:
        """Put these items into their feeds, in order, each once whatever happens.

        Returns those that were written now; the others were written before, or must not be
        (cancelled, expired, opted out), which is recorded too. Raises what asyncpg raises.
        """
        ordered = sorted(drafts, key=lambda draft: draft.id)
        ids = [draft.id for draft in ordered]
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(
                _WRITE,
                ids,
                [draft.chunk.message.attempt for draft in ordered],
                [draft.content.title for draft in ordered],
                [draft.content.body for draft in ordered],
                [draft.content.action_url for draft in ordered],
                ids[0],
                ids[-1],
                any(draft.event.renews for draft in ordered),
            )
        by_id = {draft.id: draft for draft in ordered}
        return [_written(by_id[row["id"]], row) for row in rows if row["seq"] is not None]

    async def bury(self, failures: Sequence[Failure]) -> set[UUID]:
        """Mark deliveries dead that cannot be rendered; returns those that were not settled before."""
        ordered = sorted(failures, key=lambda failure: failure.id)
        ids = [failure.id for failure in ordered]
        reasons = [failure.error.reason.value for failure in ordered]
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(
                _BURY,
                ids,
                [failure.chunk.message.attempt for failure in ordered],
                reasons,
                reasons,
                [failure.error.detail for failure in ordered],
                [failure.chunk.event.content.type for failure in ordered],
                PROVIDER,
                ids[0],
                ids[-1],
            )
        return {row["id"] for row in rows}


def _recipient(row: asyncpg.Record) -> Recipient:
    return Recipient(
        id=row["subscriber_id"],
        number=row["subscriber_number"],
        email=None,
        phone=None,
        locale=row["locale"],
        time_zone=row["time_zone"],
        attributes=row["attributes"],
    )


def _written(draft: Draft, row: asyncpg.Record) -> Written:
    return Written(
        draft,
        row["subscriber_id"],
        row["priority"],
        row["seq"],
        row["unread"],
        row["unseen"],
        row["item_id"],
        row["created_at"],
    )
