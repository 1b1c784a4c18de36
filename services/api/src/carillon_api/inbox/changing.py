"""Changing a feed: every change takes one sequence number, under the lock of the feed's row."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from carillon_shared.db.pool import Connection

from carillon_api.inbox.item_sql import IS_READ, IS_SEEN, IS_SHOWN, READ_AT, SEEN_AT
from carillon_api.inbox.models import BulkChange, Counts, ItemChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to items; None leaves a thing as it is."""

    read: bool | None = None
    seen: bool | None = None
    archived: bool | None = None
    snoozes: bool = False  # whether `snoozed_until` is meant
    snoozed_until: datetime | None = None
    deleted: bool = False

    @classmethod
    def asked(cls, change: ItemChange) -> "Change":
        """Return what a caller asks for; reading implies having seen."""
        seen = True if change.seen is None and change.read else change.seen
        return cls(
            read=change.read,
            seen=seen,
            archived=change.archived,
            snoozes="snoozed_until" in change.model_fields_set,
            snoozed_until=change.snoozed_until,
            deleted=isinstance(change, BulkChange) and bool(change.deleted),
        )


# What differs is written, and nothing else: no number is taken for a change that changes nothing. Marking
# something unread or unseen gives it a new attention_seq, which lifts it over the markers of read-all and
# seen-all; what else those markers say of it is therefore written into the row. What is archived or snoozed
# is in no count, and archiving ends a snooze.
_CHANGE = f"""
WITH old AS (
    SELECT i.id, i.attention_seq, i.archived_at, i.snoozed_until, f.seq AS feed_seq,
           {READ_AT} AS read_at, {SEEN_AT} AS seen_at, {IS_READ} AS was_read, {IS_SEEN} AS was_seen
    FROM carillon.feeds f
    JOIN carillon.feed_items i ON i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber
    WHERE f.subscriber = $1 AND i.deleted_at IS NULL AND {{which}}
), new AS (
    SELECT id, was_read, was_seen, archived_at IS NOT NULL AS was_archived,
           coalesce($3, was_read) AS is_read, coalesce($4, was_seen) AS is_seen,
           coalesce($5, archived_at IS NOT NULL) AS is_archived,
           CASE coalesce($3, was_read) WHEN true THEN coalesce(read_at, now()) END AS read_at,
           CASE coalesce($4, was_seen) WHEN true THEN coalesce(seen_at, now()) END AS seen_at,
           CASE coalesce($5, archived_at IS NOT NULL) WHEN true THEN coalesce(archived_at, now()) END
               AS archived_at,
           CASE WHEN $6 THEN $7::timestamptz WHEN $5 THEN NULL ELSE snoozed_until END AS snoozed_until,
           (was_read AND NOT coalesce($3, true)) OR (was_seen AND NOT coalesce($4, true))
               AS draws_attention,
           attention_seq, feed_seq, snoozed_until AS was_snoozed_until
    FROM old
), changed AS (
    SELECT *, NOT (was_archived OR was_snoozed_until IS NOT NULL) AS was_shown,
           NOT (is_archived OR snoozed_until IS NOT NULL OR $8) AS is_shown
    FROM new
    WHERE $8 OR (is_read, is_seen, is_archived, snoozed_until) IS DISTINCT FROM
                (was_read, was_seen, was_archived, was_snoozed_until)
), written AS (
    UPDATE carillon.feed_items i
    SET seq = c.feed_seq + 1,
        attention_seq = CASE WHEN c.draws_attention THEN c.feed_seq + 1 ELSE c.attention_seq END,
        read_at = c.read_at, seen_at = c.seen_at,
        -- A tombstone keeps no content, and never wakes.
        deleted_at = CASE WHEN $8 THEN now() END,
        archived_at = CASE WHEN NOT $8 THEN c.archived_at END,
        snoozed_until = CASE WHEN NOT $8 THEN c.snoozed_until END,
        title = CASE WHEN $8 THEN '' ELSE i.title END, body = CASE WHEN $8 THEN '' ELSE i.body END,
        action_url = CASE WHEN $8 THEN NULL ELSE i.action_url END,
        data = CASE WHEN $8 THEN jsonb_build_object() ELSE i.data END
    FROM changed c
    WHERE i.subscriber = $1 AND i.id = c.id
    RETURNING i.id
), counted AS (
    UPDATE carillon.feeds f
    SET seq = f.seq + 1, unread = f.unread + d.unread, unseen = f.unseen + d.unseen
    FROM (
        SELECT sum((is_shown AND NOT is_read)::integer - (was_shown AND NOT was_read)::integer)::integer
                   AS unread,
               sum((is_shown AND NOT is_seen)::integer - (was_shown AND NOT was_seen)::integer)::integer
                   AS unseen
        FROM changed HAVING count(*) > 0) AS d
    WHERE f.subscriber = $1
)
SELECT id FROM written
"""

_THESE = _CHANGE.format(which="i.id = ANY ($2)")
_READ_ONES = _CHANGE.format(which=f"$2::uuid[] IS NULL AND {IS_SHOWN} AND {IS_READ}")

_READ_ALL = """
UPDATE carillon.feeds
SET seq = seq + 1, read_all_seq = seq + 1, read_all_at = now(), seen_all_seq = seq + 1, seen_all_at = now(),
    unread = 0, unseen = 0
WHERE subscriber = $1 AND read_all_seq < seq
RETURNING unread, unseen, seq
"""
_SEEN_ALL = """
UPDATE carillon.feeds SET seq = seq + 1, seen_all_seq = seq + 1, seen_all_at = now(), unseen = 0
WHERE subscriber = $1 AND seen_all_seq < seq
RETURNING unread, unseen, seq
"""


async def change_items(
    connection: Connection, number: int, change: Change, *, ids: list[UUID] | None
) -> list[UUID]:
    """Change these items, or with None all that are read and shown; return those that differ."""
    # A statement of its own: the next one then sees what others committed while this one waited.
    await connection.execute("SELECT 1 FROM carillon.feeds WHERE subscriber = $1 FOR UPDATE", number)
    rows = await connection.fetch(
        _READ_ONES if ids is None else _THESE,
        number,
        ids,
        change.read,
        change.seen,
        change.archived,
        change.snoozes,
        change.snoozed_until,
        change.deleted,
    )
    return [row["id"] for row in rows]


async def mark_all(connection: Connection, number: int, *, read: bool) -> Counts | None:
    """Mark everything read (and seen), or only seen, by one marker; None when it is so already."""
    row = await connection.fetchrow(_READ_ALL if read else _SEEN_ALL, number)
    return Counts(**row) if row else None
