"""What streams have missed, read from the database for many of them at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from carillon_shared.db.pool import Connection

from carillon_api.inbox.item_sql import ITEM_COLUMNS, ITEM_FIELDS
from carillon_api.stream import frames

PAGE = 50
"""Changes of one stream read at a time (and those that share the last one's number)."""

# One statement is one snapshot: backlog and counts belong together. A cursor below the floor reads nothing.
_READ = f"""
SELECT a.n, f.seq AS feed_seq, f.unread, f.unseen, f.floor_seq, f.read_all_seq, f.seen_all_seq, i.*
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS a(subscriber, cursor, n)
LEFT JOIN carillon.feeds f ON f.subscriber = a.subscriber
LEFT JOIN LATERAL (
    SELECT {ITEM_COLUMNS}, i.attention_seq, i.deleted_at
    FROM carillon.feed_items i
    WHERE i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber AND i.seq > a.cursor
      AND a.cursor >= f.floor_seq
    ORDER BY i.seq FETCH FIRST {PAGE} ROWS WITH TIES
) AS i ON true
ORDER BY a.n, i.seq, i.id
"""

_SEQUENCES = """
SELECT s.number, coalesce(f.seq, 0) AS seq
FROM carillon.subscribers s
LEFT JOIN carillon.feeds f ON f.tenant_id = s.tenant_id AND f.subscriber = s.number
WHERE s.number = ANY ($1::bigint[]) AND s.registered
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """From where a stream goes on: after `cursor`, or from now on."""

    number: int
    cursor: int | None


@dataclass(slots=True)
class Backlog:
    """What came after a cursor, as far as one page goes. `up_to` is where the client then is."""

    counts: bytes
    feed_seq: int = 0
    floor_seq: int = 0
    up_to: int = 0
    frames: list[bytes] = field(default_factory=list)


async def read_backlogs(connection: Connection, wanted: Sequence[Wanted]) -> list[Backlog]:
    """Return a page for each, of the current tenant, in the order asked for."""
    rows = await connection.fetch(_READ, [w.number for w in wanted], [w.cursor for w in wanted])
    grouped = groupby(rows, key=lambda row: int(row["n"]))
    return [_backlog(wanted[n - 1].cursor, [dict(row) for row in group]) for n, group in grouped]


async def read_sequences(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    """Return where the feeds of those of these people of the current tenant are who are still registered."""
    rows = await connection.fetch(_SEQUENCES, numbers)
    return {row["number"]: row["seq"] for row in rows}


def _backlog(cursor: int | None, rows: list[dict[str, Any]]) -> Backlog:
    first = rows[0]
    feed_seq = first["feed_seq"] or 0
    counts = frames.counts_json(unread=first["unread"] or 0, unseen=first["unseen"] or 0, seq=feed_seq)
    backlog = Backlog(counts, feed_seq, first["floor_seq"] or 0, feed_seq)
    if cursor is None or not backlog.floor_seq <= cursor <= feed_seq:
        return backlog
    items = [row for row in rows if row["id"] is not None]
    if len(items) >= PAGE:
        backlog.up_to = items[-1]["seq"]
    backlog.frames = [data for _, data in sorted(_changes(first, items, cursor, backlog), key=lambda c: c[0])]
    return backlog


def _changes(
    feed: Mapping[str, Any], items: list[dict[str, Any]], cursor: int, backlog: Backlog
) -> Iterator[tuple[int, bytes]]:
    for seq, group in groupby(items, key=lambda item: int(item["seq"])):
        yield seq, _of_one_change(seq, list(group), cursor, backlog.counts)
    read, seen = feed["read_all_seq"] or 0, feed["seen_all_seq"] or 0
    if cursor < read <= backlog.up_to:
        yield read, _marker(b'{"all":{"read":true}}', read, backlog.counts)
    if cursor < seen <= backlog.up_to and seen != read:
        yield seen, _marker(b'{"all":{"seen":true}}', seen, backlog.counts)


def _marker(change: bytes, seq: int, counts: bytes) -> bytes:
    return frames.frame("update", frames.update_data(change, counts), seq=seq)


def _of_one_change(seq: int, items: list[dict[str, Any]], cursor: int, counts: bytes) -> bytes:
    """Return the frames of one sequence number; only the last has the id, so that none is lost in between."""
    new = [item for item in items if item["attention_seq"] > cursor and item["deleted_at"] is None]
    changed = [_changed(item) for item in items if item not in new]
    parts = [("notification", _notification(item, counts)) for item in new]
    if changed:
        parts.append(("update", frames.update_data(frames.to_json({"items": changed}), counts)))
    last = len(parts) - 1
    return b"".join(
        frames.frame(event, data, seq=seq if place == last else None)
        for place, (event, data) in enumerate(parts)
    )


def _changed(item: Mapping[str, Any]) -> dict[str, Any]:
    if item["deleted_at"] is not None:
        return {"id": item["id"], "deleted": True}
    return frames.item_state(item)


def _notification(item: Mapping[str, Any], counts: bytes) -> bytes:
    whole = {name: item[name] for name in ITEM_FIELDS}
    return b'{"item":%s,"counts":%s}' % (frames.to_json(whole), counts)
