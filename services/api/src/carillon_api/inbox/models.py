"""Feed items as they are read, and what may be changed in them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from carillon_shared.domain.lanes import Lane
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, StrictBool, model_validator

from carillon_api.written import Written, WrittenPart

MAX_SNOOZE = timedelta(days=366)
MAX_BULK = 500

Filter = Literal["all", "unread", "unseen", "archived", "snoozed"]


class InboxItem(BaseModel):
    """One item of a feed. `seq` is the number of its last change."""

    id: UUID
    seq: int
    event_id: UUID
    type: str
    category: str
    priority: Lane
    title: str
    body: str
    action_url: str | None
    data: Any
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    snoozed_until: datetime | None


class Counts(BaseModel):
    """Badge numbers as of feed sequence `seq`: a higher one replaces a lower one, whatever arrives first."""

    unread: int = 0
    unseen: int = 0
    seq: int = 0


class InboxPage(Counts):
    """One page of a feed, newest first, with the counts of the same moment."""

    data: list[InboxItem]
    next_cursor: str | None


class ChangedItem(BaseModel):
    """An item after a change, and the counts with it."""

    item: InboxItem
    counts: Counts


class ChangedItems(BaseModel):
    """Items after a change, and the counts with them."""

    items: list[InboxItem]
    counts: Counts


class ChangedCounts(BaseModel):
    """The counts after a change."""

    counts: Counts


def _soon(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + MAX_SNOOZE:
        raise ValueError("is more than a year away")
    return moment.astimezone(UTC)


class ItemChange(WrittenPart):
    """What to change. Reading implies having seen.

    A snoozed item is hidden and not counted until its time, when it comes back unread; `snoozed_until: null`
    brings it back at once and as it is. Archiving ends a snooze.
    """

    read: StrictBool | None = None
    seen: StrictBool | None = None
    archived: StrictBool | None = None
    snoozed_until: Annotated[AwareDatetime, AfterValidator(_soon)] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one of read, seen, archived, snoozed_until")
        return self


class BulkChange(ItemChange):
    """What to change in several items; `deleted: true` stands alone."""

    deleted: Literal[True] | None = None

    @model_validator(mode="after")
    def _deletes_only(self) -> Self:
        if self.deleted and len(self.model_fields_set) > 1:
            raise ValueError("what is deleted cannot be changed besides")
        return self


class BulkBody(Written):
    """The same change to several items, as one change of the feed."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_BULK)]
    set: BulkChange


class Ticket(BaseModel):
    """Opens the stream where a header cannot be sent: `GET /v1/inbox/stream?ticket=`."""

    ticket: str
    open_until: datetime = Field(description="Must be opened first before this.")
    expires_at: datetime = Field(description="May be reopened until this.")
