"""The rules of who gets what once more, in plain Python, so that the database's answer can be checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason

TYPE = "ticket.changed"
CATEGORY = "tickets"

Choices = Mapping[str, Any]
Decisions = dict[tuple[str, Channel], Reason | None]


@dataclass(frozen=True, slots=True)
class Person:
    """A subscriber, as registered."""

    id: str
    email: str | None = None
    phone: str | None = None
    registered: bool = True
    roles: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    choices: Choices | None = None
    suppressed: frozenset[Channel] = frozenset()  # by number


@dataclass(frozen=True, slots=True)
class Small:
    """A tenant with a few people, and one event."""

    people: tuple[Person, ...]
    audience: Mapping[str, Any]
    channels: tuple[Channel, ...]
    actor: str | None = None
    inline: tuple[Mapping[str, str], ...] = ()
    mandatory: bool = False
    has_type: bool = True
    disabled: frozenset[Channel] = frozenset()
    defaults: Choices = field(default_factory=dict)
    suppressed: frozenset[str] = frozenset()  # addresses


def decisions(world: Small) -> Decisions:
    """Return for each person of the audience and each channel why nothing is sent; None: it is sent."""
    people = _people_at_planning(world)
    return {
        (name, channel): _reason(world, people[name], channel)
        for name in _audience(world, people)
        for channel in world.channels
    }


def _people_at_planning(world: Small) -> dict[str, Person]:
    people = {person.id: person for person in world.people}
    for name in world.audience.get("users") or []:
        people.setdefault(name, Person(name, registered=False))
    for given in world.inline:
        old = people.get(given["id"], Person(given["id"]))
        people[given["id"]] = Person(
            old.id,
            email=given.get("email", old.email),
            phone=given.get("phone", old.phone),
            registered=True,
            roles=old.roles,
            topics=old.topics,
            choices=old.choices,
            suppressed=old.suppressed,
        )
    return people


def _audience(world: Small, people: Mapping[str, Person]) -> set[str]:
    wanted = world.audience
    named = set(wanted.get("users") or [])
    for person in people.values():
        everyone = wanted.get("everyone") and person.registered
        by_role = person.roles & set(wanted.get("roles") or [])
        by_topic = person.topics & set(wanted.get("topics") or [])
        if everyone or by_role or by_topic:
            named.add(person.id)
    return named


def _reason(world: Small, person: Person, channel: Channel) -> Reason | None:
    if person.id == world.actor:
        return Reason.ACTOR
    if person.id in (world.audience.get("exclude") or []):
        return Reason.EXCLUDED
    if not person.registered:
        return Reason.UNKNOWN_SUBSCRIBER
    return _reason_on(world, person, channel)


def _reason_on(world: Small, person: Person, channel: Channel) -> Reason | None:
    if channel in world.disabled:
        return Reason.CHANNEL_DISABLED
    address = {Channel.EMAIL: person.email, Channel.WHATSAPP: person.phone, Channel.INAPP: ""}[channel]
    if address is None:
        return Reason.NO_ADDRESS
    if channel in person.suppressed or address.lower() in world.suppressed:
        return Reason.SUPPRESSED
    if world.has_type and world.mandatory:
        return None
    return None if _wants(world, person, channel) else Reason.OPTED_OUT


def _wants(world: Small, person: Person, channel: Channel) -> bool:
    for choices in (person.choices or {}, world.defaults):
        for scope in (
            choices.get("types", {}).get(TYPE, {}),
            choices.get("categories", {}).get(CATEGORY, {}),
            choices.get("all", {}),
        ):
            if channel in scope:
                return bool(scope[channel])
    return True
