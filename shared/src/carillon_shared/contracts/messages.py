"""Every message body that crosses the broker. `TYPE` names subject, what and version; a change that old
readers cannot take is a new version under a new name.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane

MAX_ATTEMPT = 32_000
"""Rows count attempts in 16 bits. A message that says more is poison, not a statement that fails."""


class Message(BaseModel):
    """Base of all bodies: immutable, unknown fields ignored when reading."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    TYPE: ClassVar[str]


class EventAccepted(Message):
    """An event is committed and waits to be planned. To `carillon.events`."""

    TYPE: ClassVar[str] = "event.accepted.v1"
    event_id: UUID
    tenant: str
    event_type: str
    lane: Lane


class RangePlanned(Message):
    """Plan (if that is not done) and publish one range of a large audience. To `carillon.fanout`."""

    TYPE: ClassVar[str] = "fanout.range.v1"
    event_id: UUID
    n: int = Field(ge=0, description="Number of the range within its event.")


class WorkChunk(Message):
    """Deliver these. To `carillon.work` and through the retry ladder.

    `attempt` is the attempt each delivery is about to make: a message older than the row is dropped.
    `isolated` marks the single-delivery messages that a chunk with a poisonous member was split into.
    """

    TYPE: ClassVar[str] = "work.chunk.v1"
    event_id: UUID
    tenant: str
    channel: Channel
    lane: Lane
    attempt: int = Field(ge=1, le=MAX_ATTEMPT)
    delivery_ids: list[UUID] = Field(min_length=1, max_length=1000)
    isolated: bool = False


class DeadDelivery(Message):
    """A delivery waits for an operator; the row decides, this copy is for the broker's own tools."""

    TYPE: ClassVar[str] = "dead.delivery.v1"
    event_id: UUID
    tenant: str
    channel: Channel
    lane: Lane
    delivery_id: UUID
    attempt: int = Field(le=MAX_ATTEMPT)
    reason: str


class LiveFrame(BaseModel):
    """One feed change for one subscriber: own head, shared tail (see `LiveChunk.tails`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    subscriber: str
    seq: int
    unread: int
    unseen: int
    item_id: UUID | None = None
    tail: int = Field(ge=0, description="Index into `LiveChunk.tails`.")


class LiveChunk(Message):
    """Feed changes to show now. Transient; to `carillon.live`. The database is what counts."""

    TYPE: ClassVar[str] = "live.chunk.v1"
    tenant: str
    event: Literal["notification", "update"]
    tails: list[dict[str, Any] | None] = Field(description="None: too large to carry, read the item instead.")
    frames: list[LiveFrame]


class LiveSignal(Message):
    """A signal for connected clients of these users or topics; never stored."""

    TYPE: ClassVar[str] = "live.signal.v1"
    tenant: str
    users: list[str] = Field(default_factory=list)
    topics: list[str] = Field(default_factory=list)
    name: str
    data: Any


class LiveGone(Message):
    """These people are to be served no more: their streams are closed. Transient; to `carillon.live`."""

    TYPE: ClassVar[str] = "live.gone.v1"
    tenant: str
    subscribers: list[str]


class OutcomeBatch(Message):
    """Deliveries that reached a state. To `carillon.outcomes`, for product services; at least once."""

    TYPE: ClassVar[str] = "outcome.batch.v1"
    tenant: str
    channel: Channel
    state: str
    delivery_ids: list[UUID]
    at: datetime


MESSAGE_TYPES: dict[str, type[Message]] = {
    message.TYPE: message
    for message in (
        EventAccepted,
        RangePlanned,
        WorkChunk,
        DeadDelivery,
        LiveChunk,
        LiveSignal,
        LiveGone,
        OutcomeBatch,
    )
}
"""Every body that can be read, by the AMQP `type` property."""
