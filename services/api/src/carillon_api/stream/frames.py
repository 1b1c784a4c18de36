"""Frames of an event stream (WHATWG HTML, 9.2), made once and shared by all who get them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from carillon_api.inbox.item_sql import ITEM_FIELDS

JSON = dict[str, Any]
PING = b": ping\n\n"

# A new item has not been touched by its person yet.
_UNTOUCHED = {"seen_at": None, "read_at": None, "archived_at": None, "snoozed_until": None}
_SHARED_FIELDS = tuple(name for name in ITEM_FIELDS if name not in {"id", "seq"})


def frame(event: str, data: bytes, *, seq: int | None = None) -> bytes:
    """Return one frame; with `seq` the client resumes after it. JSON has no line breaks outside strings."""
    start = b"" if seq is None else b"id: %d\n" % seq
    return b"%sevent: %s\ndata: %s\n\n" % (start, event.encode(), data)


def counts_json(*, unread: int, unseen: int, seq: int) -> bytes:
    """Return the counts as they stand in every frame of the feed."""
    return b'{"unread":%d,"unseen":%d,"seq":%d}' % (unread, unseen, seq)


def shared_item(tail: Mapping[str, Any]) -> bytes | None:
    """Return the JSON of an item without its head, to follow a head; None when the tail has no content."""
    if "title" not in tail:
        return None
    shared = _UNTOUCHED | {name: tail[name] for name in _SHARED_FIELDS if name in tail}
    return to_json(shared)[1:]


def notification_data(*, item_id: UUID, seq: int, shared: bytes, counts: bytes) -> bytes:
    """Return the data of a `notification`: the item's own head, its shared rest, the counts."""
    return b'{"item":{"id":"%s","seq":%d,%s,"counts":%s}' % (str(item_id).encode(), seq, shared, counts)


def update_data(change: bytes, counts: bytes) -> bytes:
    """Return the data of an `update`, of which `change` is everything but the counts."""
    return b'%s,"counts":%s}' % (change[:-1], counts)


def item_state(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an `update` says of an item: what a person can change."""
    return {
        "id": item["id"],
        "seq": item["seq"],
        "read": item["read_at"] is not None,
        "seen": item["seen_at"] is not None,
        "archived": item["archived_at"] is not None,
        **{name: item[name] for name in _UNTOUCHED},
    }


def ready(counts: bytes, *, seq: int) -> bytes:
    """Return the first frame: the stream goes on from `seq`."""
    return frame("ready", b'{"counts":%s}' % counts, seq=seq)


def reset(reason: str, counts: bytes, *, seq: int) -> bytes:
    """Return the frame that tells a client to read the feed anew: what it has cannot be continued."""
    return frame("reset", b'{"reason":"%s","counts":%s}' % (reason.encode(), counts), seq=seq)


def signal(name: str, data: Any, *, topic: str | None) -> bytes:
    """Return a signal: shown once, never resumed, so it has no id."""
    said: dict[str, Any] = {"name": name, "data": data}
    return frame("signal", to_json(said | ({"topic": topic} if topic else {})))


def retry(milliseconds: int) -> bytes:
    """Return what makes a client wait so long before it comes back."""
    return b"retry: %d\n\n" % milliseconds


def to_json(value: Any) -> bytes:
    """Return compact JSON with times in UTC, written with Z."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):  # the database driver's own kind of it
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")
