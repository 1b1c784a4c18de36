"""The rules of who gets what, where and when, once more: one after the other, for one person at a time.

Slow, and as simple as it can be, so that what the database decides for many at once can be compared with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.quiet_oracle import quiet_until

Choices = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many within any window of so many seconds."""

    limit: int
    seconds: int
    channels: frozenset[Channel]
    on_exceed: str = "hold"


@dataclass(frozen=True, slots=True)
class Gathering:
    """A type's digest."""

    channels: frozenset[Channel]
    key: tuple[str, ...] = ()
    first_at_once: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A registered event type."""

    name: str
    category: str
    mandatory: bool = False
    quiet_hours: str = "hold"
    throttle: Limit | None = None
    digest: Gathering | None = None
    frequency_cap: bool = True
    conditions: Mapping[Channel, int] = field(default_factory=dict)  # seconds that the feed is given
    stops: bool = False  # on the first success


@dataclass(frozen=True, slots=True)
class Quiet:
    """Somebody's quiet hours."""

    windows: tuple[Mapping[str, Any], ...]
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """A subscriber."""

    id: str
    email: str | None = None
    phone: str | None = None
    time_zone: str | None = None
    registered: bool = True
    roles: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    choices: Choices = field(default_factory=dict)
    muted: frozenset[str] = frozenset()
    quiet: Quiet | None = None
    suppressed: frozenset[Channel] = frozenset()


@dataclass(frozen=True, slots=True)
class Slots:
    """Moments at which somebody's slots were taken, as seconds ago, the longest first."""

    person: str
    scope: str
    channel: Channel
    ages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event. Those of a round are planned together."""

    kind: str
    category: str
    channels: tuple[Channel, ...]
    audience: Mapping[str, Any]
    lane: Lane = Lane.NORMAL
    actor: str | None = None
    inline: tuple[Mapping[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    slots_taken: bool = False  # intake has taken them


@dataclass(frozen=True, slots=True)
class World:
    """One tenant, and what happens there."""

    people: tuple[Person, ...]
    rounds: tuple[tuple[Occurrence, ...], ...]
    kinds: tuple[Kind, ...] = ()
    disabled: frozenset[Channel] = frozenset()
    defaults: Choices = field(default_factory=dict)
    time_zone: str = "UTC"
    parents: frozenset[tuple[str, str]] = frozenset()  # (topic, the one it lies in)
    suppressed: frozenset[str] = frozenset()  # addresses
    suppressed_before: frozenset[str] = frozenset()  # addresses; it is over
    cap: Limit | None = None
    caps: Mapping[str, Limit | None] = field(default_factory=dict)  # by category
    slots: tuple[Slots, ...] = ()


class Decision(NamedTuple):
    """What became of an event for one person over one channel."""

    status: str
    hold_reason: str | None = None
    reason: str | None = None
    until: datetime | None = None


SEND = Decision("queued")
Place = tuple[int, int, str, Channel]  # round, event in it, person, channel


def skip(reason: str) -> Decision:
    """Return the decision not to send."""
    return Decision("skipped", None, reason)


def verdicts(world: World, moments: Sequence[datetime]) -> dict[Place, Decision]:
    """Return what becomes of everything in this world; `moments` says when each round is planned."""
    return dict(_History(world, moments).all())


class _History:
    """What has happened so far: who is known, which slots are taken, which digests are open."""

    def __init__(self, world: World, moments: Sequence[datetime]) -> None:
        self.world = world
        self.moments = moments
        self.now = moments[0]
        self.people = {person.id: person for person in world.people}
        self.kinds = {kind.name: kind for kind in world.kinds}
        self.digests: set[tuple[str, Channel, str]] = set()
        self.taken = {
            (one.person, one.scope, one.channel): [moments[0] - timedelta(seconds=age) for age in one.ages]
            for one in world.slots
        }
        self.waiting: dict[tuple[str, str, Channel], int] = {}

    def all(self) -> Iterator[tuple[Place, Decision]]:
        for place, events in enumerate(self.world.rounds):
            self.now = self.moments[place]
            self.waiting.clear()
            for event in events:
                self._meet(event)
            for number, event in enumerate(events):
                for name in sorted(self._audience(event)):
                    for channel in event.channels:
                        yield (place, number, name, channel), self._verdict(event, self.people[name], channel)

    # Who it is for.

    def _meet(self, event: Occurrence) -> None:
        for name in event.audience.get("users") or []:
            self.people.setdefault(name, Person(name, registered=False))
        for given in event.inline:
            old = self.people.get(given["id"], Person(given["id"]))
            self.people[old.id] = replace(
                old,
                registered=True,
                email=given.get("email", old.email),
                phone=given.get("phone", old.phone),
                time_zone=given.get("time_zone", old.time_zone),
            )

    def _audience(self, event: Occurrence) -> set[str]:
        wanted = event.audience
        return {
            person.id
            for person in self.people.values()
            if person.id in (wanted.get("users") or [])
            or (wanted.get("everyone") and person.registered)
            or person.roles & set(wanted.get("roles") or [])
            or person.topics & self._topics(event)
        }

    def _topics(self, event: Occurrence) -> set[str]:
        topics = set(event.audience.get("topics") or [])
        while wider := {parent for topic, parent in self.world.parents if topic in topics} - topics:
            topics |= wider
        return topics

    # Whether, where and when.

    def _verdict(self, event: Occurrence, person: Person, channel: Channel) -> Decision:
        kind = self.kinds.get(event.kind, Kind(event.kind, event.category))
        asked = (self._who, self._where, self._wish, self._condition, self._quiet, self._gather)
        for ask in (*asked, self._throttle, self._cap):
            verdict = ask(event, kind, person, channel)
            if verdict is not None:
                return verdict
        return SEND

    def _who(self, event: Occurrence, _kind: Kind, person: Person, _channel: Channel) -> Decision | None:
        if person.id == event.actor:
            return skip("actor")
        if person.id in (event.audience.get("exclude") or []):
            return skip("excluded")
        return None if person.registered else skip("unknown_subscriber")

    def _where(self, _event: Occurrence, _kind: Kind, person: Person, channel: Channel) -> Decision | None:
        if channel in self.world.disabled:
            return skip("channel_disabled")
        if channel is Channel.INAPP:
            return None
        address = person.email if channel is Channel.EMAIL else person.phone
        if address is None:
            return skip("no_address")
        is_suppressed = channel in person.suppressed or address.lower() in self.world.suppressed
        return skip("suppressed") if is_suppressed else None

    def _wish(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> Decision | None:
        if kind.mandatory:
            return None
        if person.muted & self._topics(event):
            return skip("muted")
        for choices in (person.choices, self.world.defaults):
            for scope in (
                choices.get("types", {}).get(event.kind, {}),
                choices.get("categories", {}).get(event.category, {}),
                choices.get("all", {}),
            ):
                if channel.value in scope:
                    return None if scope[channel.value] else skip("opted_out")
        return None

    def _condition(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> Decision | None:
        used = {each for each in event.channels if self._is_used(event, kind, person, each)}
        after = kind.conditions.get(channel)
        if after is not None and Channel.INAPP in used:
            return Decision("held", "condition", None, self.now + timedelta(seconds=after))
        before = set(event.channels[: event.channels.index(channel)])
        if after is not None:
            before.discard(Channel.INAPP)
        return Decision("held", "condition") if kind.stops and before & used else None

    def _is_used(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> bool:
        """Tell whether the person gets this kind over the channel, at once or later."""
        asked = (self._who, self._where, self._wish, self._quiet)
        said = [ask(event, kind, person, channel) for ask in asked]
        return not any(verdict and verdict.status == "skipped" for verdict in said)

    def _quiet(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> Decision | None:
        may_disturb = event.lane is Lane.CRITICAL or kind.quiet_hours == "pass" or channel is Channel.INAPP
        if may_disturb or person.quiet is None:
            return None
        zone = person.quiet.time_zone or person.time_zone or self.world.time_zone
        until = quiet_until(person.quiet.windows, zone, self.now)
        if until is None:
            return None
        return (
            skip("quiet_hours")
            if kind.quiet_hours == "skip"
            else Decision("held", "quiet_hours", None, until)
        )

    def _gather(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> Decision | None:
        digest = kind.digest
        if digest is None or event.lane is Lane.CRITICAL or channel not in digest.channels:
            return None
        value: Any = event.data if digest.key else ""
        for part in digest.key:
            value = value.get(part, {})
        open_one = (person.id, channel, f"{event.kind}:{value or ''}")
        if digest.first_at_once and open_one not in self.digests:
            self.digests.add(open_one)
            return None
        return Decision("held", "digest")

    def _throttle(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> Decision | None:
        if kind.throttle is None or event.slots_taken or channel not in kind.throttle.channels:
            return None
        until = self._take(kind.throttle, person, f"type:{event.kind}", channel)
        if until is None:
            return None
        if kind.throttle.on_exceed == "skip":
            return skip("throttled")
        return Decision("held", "throttled", None, until)

    def _cap(self, event: Occurrence, kind: Kind, person: Person, channel: Channel) -> Decision | None:
        cap, scope = self.world.cap, "cap:"
        if event.category in self.world.caps:
            cap, scope = self.world.caps[event.category], f"cap:{event.category}"
        is_free = event.lane is Lane.CRITICAL or kind.mandatory or not kind.frequency_cap
        if cap is None or is_free or channel not in cap.channels:
            return None
        until = self._take(cap, person, scope, channel)
        return None if until is None else Decision("held", "digest", "frequency_cap", until)

    def _take(self, limit: Limit, person: Person, scope: str, channel: Channel) -> datetime | None:
        """Take a slot; or return when one is free, if everyone who waits already gets one before."""
        key, window = (person.id, scope, channel), timedelta(seconds=limit.seconds)
        taken = [moment for moment in self.taken.get(key, []) if moment > self.now - window]
        if len(taken) < limit.limit:
            self.taken[key] = [*taken, self.now]
            return None
        before = self.waiting.get(key, 0)
        self.waiting[key] = before + 1
        frees = taken[-limit.limit :][before % limit.limit]
        return frees + window * (1 + before // limit.limit)
