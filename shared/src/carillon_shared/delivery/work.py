"""What the engine holds in memory: chunks in work and attempts that have ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from carillon_shared.broker.incoming import Incoming
from carillon_shared.consumer.source import MessageSource
from carillon_shared.content.digest_items import TemplatesOfTypes
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.delivery.attempt import Attempted
from carillon_shared.domain.delivery import EventContent, LeasedDelivery
from carillon_shared.retry.decision import Decision
from carillon_shared.retry.policy import RetryPolicy


@dataclass(frozen=True, slots=True)
class EventWork:
    """All that the deliveries of one event and channel share."""

    content: EventContent
    templates: Mapping[str, Mapping[str, Any]]  # by locale
    policy: RetryPolicy
    item_templates: TemplatesOfTypes | None = None  # of a digest that gathers several types


@dataclass(slots=True, eq=False)
class Chunk:
    """A work message in work. The engine acks it to its `source` when none of its deliveries is open here."""

    incoming: Incoming
    message: WorkChunk
    event: EventWork
    source: MessageSource | None = None  # None: settled by a batch consumer
    open: set[UUID] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Item:
    """One delivery of a chunk that waits for a send slot."""

    chunk: Chunk
    id: UUID
    refusals: int = 0  # how often another session held its row


@dataclass(slots=True, eq=False)
class Lease:
    """Deliveries leased by one statement; the row goes when the last of them is settled."""

    token: int
    open: int = 0  # not written down yet
    ending: bool = False  # a wave removes its row


@dataclass(slots=True, eq=False)
class Ended:
    """An attempt that is over and not yet written down."""

    item: Item
    lease: Lease
    delivery: LeasedDelivery
    attempted: Attempted
    decision: Decision
    started: float  # monotonic seconds
    ended: float
