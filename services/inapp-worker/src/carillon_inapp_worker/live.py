"""What open streams are told: per-subscriber heads over shared tails."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import orjson
from carillon_shared.contracts.messages import LiveChunk, LiveFrame

from carillon_inapp_worker.feed import Written

MAX_BYTES = 64_000
"""Of one live message. An item larger than that is announced by its number only."""

_HEAD_BYTES = 220  # of one frame's JSON, generously
_TailKey = tuple[str, str, str | None, int]


def live_chunks(written: Iterable[Written]) -> Iterator[LiveChunk]:
    """Return live messages for items just written, in their order within each event."""
    for _, items in groupby(written, key=lambda item: item.draft.chunk.message.event_id):
        yield from _of_one_event(list(items))


def _of_one_event(items: list[Written]) -> Iterator[LiveChunk]:
    tenant = items[0].draft.chunk.message.tenant
    open_chunk = _OpenChunk(tenant)
    for item in items:
        if not open_chunk.has_room(item):
            yield open_chunk.close()
            open_chunk = _OpenChunk(tenant)
        open_chunk.add(item)
    yield open_chunk.close()


class _OpenChunk:
    """A live message in the making."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._tails: dict[_TailKey, int] = {}
        self._bodies: list[dict[str, Any] | None] = []
        self._frames: list[LiveFrame] = []
        self._size = 0

    def has_room(self, item: Written) -> bool:
        if not self._frames:
            return True
        new = 0 if _key(item) in self._tails else len(_json(_tail(item)) or b"")
        return self._size + new + _HEAD_BYTES <= MAX_BYTES

    def add(self, item: Written) -> None:
        index = self._tails.get(_key(item))
        if index is None:
            index = self._tails[_key(item)] = len(self._bodies)
            tail = _tail(item)
            size = len(_json(tail))
            fits = size <= MAX_BYTES
            self._bodies.append(tail if fits else None)
            self._size += size if fits else 0
        self._frames.append(_frame(item, index))
        self._size += _HEAD_BYTES

    def close(self) -> LiveChunk:
        return LiveChunk(tenant=self._tenant, event="notification", tails=self._bodies, frames=self._frames)


def _key(item: Written) -> _TailKey:
    content = item.draft.content
    return content.title, content.body, content.action_url, id(item.draft.event)


def _tail(item: Written) -> dict[str, Any]:
    content, event = item.draft.content, item.draft.event
    return {
        "event_id": str(event.id),
        "type": event.type,
        "category": event.category,
        "priority": item.priority,
        "title": content.title,
        "body": content.body,
        "action_url": content.action_url,
        "data": event.data,
        "created_at": item.created_at.isoformat().replace("+00:00", "Z"),
    }


def _frame(item: Written, tail: int) -> LiveFrame:
    return LiveFrame(
        subscriber=item.subscriber,
        seq=item.seq,
        unread=item.unread,
        unseen=item.unseen,
        item_id=item.item_id,
        tail=tail,
    )


def _json(value: Any) -> bytes:
    return orjson.dumps(value)
