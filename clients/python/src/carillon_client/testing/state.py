"""What the fake remembers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from carillon_client.ids import new_id
from carillon_client.testing.feeds import Feed

AudienceRule = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class EventType:
    """A registered kind of event. `title` and `body` are format strings over its data."""

    name: str
    channels: tuple[str, ...]
    category: str = "general"
    audience: AudienceRule | None = None
    approval: bool = False
    title: str = ""
    body: str = ""

    def said(self, text: str, data: Mapping[str, Any]) -> str:
        """Return a text with the data filled in."""
        return text.format_map(data)


@dataclass(slots=True)
class FakeEvent:
    """An event that was accepted; `body` is what came over the wire."""

    body: Mapping[str, Any]
    kind: EventType
    id: str = field(default_factory=new_id)
    status: str = "accepted"
    accepted_at: datetime = field(default_factory=now)
    cancelled_at: datetime | None = None
    unplanned: int = 0

    @property
    def type(self) -> str:
        """Its type."""
        return self.kind.name

    @property
    def data(self) -> Mapping[str, Any]:
        """Its payload."""
        found: Mapping[str, Any] = self.body["data"]
        return found

    @property
    def audience(self) -> Mapping[str, Any]:
        """For whom it is, by its own word or by its type's rule."""
        given = self.body.get("audience")
        if given is None and self.kind.audience is not None:
            given = self.kind.audience(self.data)
        return given or {}

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels it goes by."""
        wanted = self.body.get("channels") or self.kind.channels
        return tuple(channel for channel in self.kind.channels if channel in wanted)


@dataclass(slots=True)
class FakeDelivery:
    """One event to one person over one channel."""

    event: FakeEvent
    subscriber: str
    channel: str
    status: str
    reason: str | None = None
    address: str | None = None
    attempts: list[Mapping[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=new_id)
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(slots=True)
class SubscriberRow:
    """Somebody registered."""

    id: str
    given: Mapping[str, Any]
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class LiveSignal:
    """A signal, for who listens now."""

    users: frozenset[str]
    topics: tuple[str, ...]
    name: str
    data: Any


@dataclass(slots=True)
class State:
    """Everything, of one tenant."""

    types: dict[str, EventType] = field(default_factory=dict)
    events: dict[str, FakeEvent] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, bytes]] = field(
        default_factory=dict
    )  # source, id -> event, digest
    deliveries: dict[str, FakeDelivery] = field(default_factory=dict)
    people: dict[str, SubscriberRow] = field(default_factory=dict)
    groups: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # roles or topics, name
    feeds: dict[str, Feed] = field(default_factory=dict)
    signals: list[LiveSignal] = field(default_factory=list)
    tokens: dict[str, tuple[str, frozenset[str], datetime]] = field(default_factory=dict)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def groups_of(self, kind: str, subscriber: str) -> list[str]:
        """Return the roles or topics of somebody."""
        return sorted(
            name for (group, name), members in self.groups.items() if group == kind and subscriber in members
        )

    def feed(self, subscriber: str) -> Feed:
        """Return somebody's feed."""
        return self.feeds.setdefault(subscriber, Feed())
