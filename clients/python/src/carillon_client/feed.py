"""A subscriber's feed: its items, its counts, and the frames of its stream."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import ValidationError

from carillon_client.call import Answer


class InboxItem(Answer):
    """One item of a feed. `seq` is the number of its last change."""

    id: UUID
    seq: int
    event_id: UUID
    type: str
    category: str
    priority: str
    title: str
    body: str
    action_url: str | None
    data: Any
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    snoozed_until: datetime | None


class Counts(Answer):
    """Badge numbers as of feed sequence `seq`: a higher one replaces a lower one, whatever arrives first."""

    unread: int
    unseen: int
    seq: int


class ChangedItem(Answer):
    """An item after a change, and the counts with it."""

    item: InboxItem
    counts: Counts


class ChangedItems(Answer):
    """Items after a change, and the counts with them."""

    items: tuple[InboxItem, ...]
    counts: Counts


class ChangedCounts(Answer):
    """The counts after a change."""

    counts: Counts


class ItemState(Answer):
    """What a person has done with an item. Everything but `id` is None in the word of a deletion."""

    id: UUID
    deleted: bool = False
    seq: int | None = None
    read: bool | None = None
    seen: bool | None = None
    archived: bool | None = None
    seen_at: datetime | None = None
    read_at: datetime | None = None
    archived_at: datetime | None = None
    snoozed_until: datetime | None = None


class Ready(Answer):
    """The stream is open, for the first time or again; it goes on after `counts` or your cursor."""

    counts: Counts


class Notification(Answer):
    """A new item, or one that came back."""

    item: InboxItem
    counts: Counts


class Update(Answer):
    """Items changed, or (`all`) every item was read or seen at once."""

    items: tuple[ItemState, ...] = ()
    all: Mapping[str, bool] | None = None
    counts: Counts


class Reset(Answer):
    """What you have cannot be continued: read the feed anew. The stream goes on after that by itself."""

    reason: str
    counts: Counts


class Signal(Answer):
    """Something shown live and kept nowhere, such as the progress of a job."""

    name: str
    data: Any = None
    topic: str | None = None


Frame: TypeAlias = Ready | Notification | Update | Reset | Signal
"""What a stream says."""

_KINDS: Mapping[str, type[Ready | Notification | Update | Reset | Signal]] = {
    "ready": Ready,
    "notification": Notification,
    "update": Update,
    "reset": Reset,
    "signal": Signal,
}


def frame_of(event: str, data: str) -> Frame | None:
    """Return a typed frame; None for a kind that this version does not know.

    Raises ``ValueError`` when the data does not belong to its kind.
    """
    kind = _KINDS.get(event)
    if kind is None:
        return None
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(f"a frame {event!r} cannot be read: {error}") from error
