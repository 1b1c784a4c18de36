"""Worlds for the oracle, as various as the rules allow."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any, TypeVar

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from hypothesis import strategies as st
from support.oracle import Gathering, Kind, Limit, Occurrence, Person, Quiet, Slots, World
from support.quiet_oracle import DAYS, window

T = TypeVar("T")

_NAMES = ["u-0", "u-1", "u-2", "u-3"]
_ROLES = ["a", "b"]
_TOPICS = ["t0", "t1", "t2", "t3"]
_KINDS = [("ticket.changed", "tickets"), ("ticket.noted", "tickets"), ("news", "news"), ("alarm", "general")]
_CHANNELS = list(Channel)
_AWAY = [Channel.EMAIL, Channel.WHATSAPP]  # where caps and digests are
_ORDERS = [tuple(_CHANNELS), tuple(reversed(_CHANNELS)), tuple(_AWAY), (Channel.EMAIL,)]
_ZONES = ["UTC", "Asia/Ulaanbaatar", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu"]
_SECONDS = [60, 600, 3600, 86_400]
_AGES = [5, 300, 2000, 40_000]  # far from the ends of all windows, whatever a test takes

_scope = st.dictionaries(st.sampled_from([channel.value for channel in Channel]), st.booleans(), max_size=2)
_choices = st.fixed_dictionaries(
    {},
    optional={
        "all": _scope,
        "categories": st.dictionaries(st.sampled_from(["tickets", "news"]), _scope, max_size=2),
        "types": st.dictionaries(st.sampled_from([name for name, _ in _KINDS]), _scope, max_size=2),
    },
)
_some_names = st.lists(st.sampled_from([*_NAMES, "stranger"]), max_size=3, unique=True)
_some_topics = st.lists(st.sampled_from(_TOPICS), max_size=2, unique=True)
_audiences = st.one_of(
    st.just({"everyone": True}),
    st.fixed_dictionaries(
        {"users": _some_names},
        optional={
            "roles": st.lists(st.sampled_from(_ROLES), max_size=2, unique=True),
            "topics": _some_topics,
            "exclude": _some_names,
        },
    ),
)


def _rarely(value: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.one_of(st.none(), st.none(), value)


def _mostly(*often: T, rarely: T) -> st.SearchStrategy[T]:
    return st.sampled_from([*often * (6 // len(often)), rarely])


def _clock(hour: int) -> str:
    return f"{hour:02d}:{hour * 7 % 60:02d}"


_windows = st.builds(
    lambda start, length, days: window(_clock(start), _clock((start + length) % 24), days),
    st.integers(0, 23),
    st.integers(4, 11),  # two of them leave an hour of each day
    st.one_of(st.just(list(DAYS)), st.lists(st.sampled_from(DAYS), min_size=3, max_size=7, unique=True)),
)
_quiet = st.builds(
    Quiet, st.lists(_windows, min_size=1, max_size=2).map(tuple), st.none() | st.sampled_from(_ZONES)
)


def _people(name: str) -> st.SearchStrategy[Person]:
    return st.builds(
        Person,
        st.just(name),
        email=_mostly(f"{name}@example.org", f"{name.upper()}@Example.org", rarely=None),
        phone=_mostly(f"+1202555000{name[-1]}", rarely=None),
        time_zone=st.none() | st.sampled_from(_ZONES),
        registered=st.sampled_from([True] * 6 + [False]),
        roles=st.frozensets(st.sampled_from(_ROLES), max_size=1),
        topics=st.frozensets(st.sampled_from(_TOPICS), max_size=2),
        choices=st.one_of(st.just({}), _choices),
        muted=st.frozensets(st.sampled_from(_TOPICS), max_size=2),
        quiet=st.none() | _quiet,
        suppressed=st.one_of(
            st.just(frozenset[Channel]()), st.frozensets(st.sampled_from(_AWAY), max_size=1)
        ),
    )


def _limits(channels: list[Channel], *, on_exceed: list[str]) -> st.SearchStrategy[Limit]:
    return st.builds(
        Limit,
        st.integers(1, 3),
        st.sampled_from(_SECONDS),
        st.frozensets(st.sampled_from(channels), min_size=1),
        st.sampled_from(on_exceed),
    )


_digests = st.builds(
    Gathering,
    st.frozensets(st.sampled_from(_AWAY), min_size=1),
    key=st.sampled_from([(), ("ticket", "id")]),
    first_at_once=st.booleans(),
)


def _kinds(name: str, category: str, *, limits: bool) -> st.SearchStrategy[Kind]:
    given: dict[str, st.SearchStrategy[Any]] = {}
    if limits:
        given = {
            "throttle": st.none() | _limits(_CHANNELS, on_exceed=["hold", "skip", "reject"]),
            "digest": st.none() | _digests,
            "frequency_cap": st.sampled_from([True, True, False]),
        }
    return st.builds(
        Kind,
        st.just(name),
        st.just(category),
        mandatory=st.sampled_from([False, False, True]),
        quiet_hours=st.sampled_from(["hold", "hold", "pass", "skip"]),
        conditions=st.one_of(
            st.just({}), st.dictionaries(st.sampled_from(_AWAY), st.sampled_from(_SECONDS), max_size=2)
        ),
        stops=st.sampled_from([False, False, True]),
        **given,
    )


@st.composite
def _events(draw: st.DrawFn) -> Occurrence:
    kind, category = draw(st.sampled_from(_KINDS))
    audience: dict[str, Any] = draw(_audiences)
    users: list[str] = audience.get("users") or []
    inline = draw(_rarely(_given(users))) if users else None
    return Occurrence(
        kind=kind,
        category=category,
        channels=draw(st.sampled_from(_ORDERS)),
        audience=audience,
        lane=draw(st.sampled_from([Lane.NORMAL, Lane.NORMAL, Lane.BULK, Lane.CRITICAL])),
        actor=draw(_mostly(None, rarely="u-1")),
        inline=(inline,) if inline else (),
        data=draw(st.sampled_from([{}, {"ticket": {"id": 7}}, {"ticket": {"id": "x"}}])),
        slots_taken=draw(st.sampled_from([False] * 6 + [True])),
    )


def _given(users: list[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(
        {"id": st.sampled_from(users)},
        optional={
            "email": st.just("new@example.org"),
            "phone": st.just("+12025550199"),
            "time_zone": st.sampled_from(_ZONES),
        },
    )


@st.composite
def worlds(draw: st.DrawFn, *, limits: bool) -> World:
    """Draw a tenant with its people, types and events; `limits`: throttles, digests and caps too."""
    people = tuple(draw(_people(name)) for name in _NAMES[: draw(st.integers(2, len(_NAMES)))])
    kinds = tuple(draw(_kinds(*each, limits=limits)) for each in _KINDS[: draw(st.sampled_from([1, 3, 4]))])
    cap = _limits(_AWAY, on_exceed=["hold"])
    return World(
        people=people,
        rounds=tuple(tuple(draw(st.lists(_events(), min_size=1, max_size=3))) for _ in range(2)),
        kinds=kinds,
        disabled=draw(_mostly(frozenset(), rarely=frozenset({Channel.EMAIL}))),
        defaults=draw(st.one_of(st.just({}), _choices)),
        time_zone=draw(st.sampled_from(_ZONES)),
        parents=draw(_parents),
        suppressed=draw(_suppressed("u-1@example.org", "+12025550002")),
        suppressed_before=draw(_suppressed("u-0@example.org")),
        cap=draw(st.none() | cap) if limits else None,
        caps=draw(st.dictionaries(st.sampled_from(["tickets", "news"]), st.none() | cap, max_size=1))
        if limits
        else {},
        slots=draw(_slots(people)) if limits else (),
    )


def _suppressed(*addresses: str) -> st.SearchStrategy[frozenset[str]]:
    return st.sampled_from([frozenset(), frozenset(), frozenset(addresses)])


# Circles as well: nothing may hang.
_parents = st.frozensets(st.sampled_from(list(permutations(_TOPICS, 2))), max_size=3)


def _slots(people: tuple[Person, ...]) -> st.SearchStrategy[tuple[Slots, ...]]:
    scopes = ["cap:", "cap:tickets", *(f"type:{name}" for name, _ in _KINDS[:3])]
    one = st.builds(
        Slots,
        st.sampled_from([person.id for person in people]),
        st.sampled_from(scopes),
        st.sampled_from(_AWAY),
        st.lists(st.sampled_from(_AGES), max_size=4).map(lambda ages: tuple(sorted(ages, reverse=True))),
    )
    return st.lists(one, max_size=4, unique_by=lambda each: (each.person, each.scope, each.channel)).map(
        tuple
    )


def crossed(drawn: Sequence[World], many: int, random: Random) -> Iterator[World]:
    """Make worlds of parts of those that were drawn.

    Drawing a world takes 20 ms, and this next to nothing. Most have several limits that are nearly used up.
    """
    people = {name: [one for world in drawn for one in world.people if one.id == name] for name in _NAMES}
    kinds = {name: [one for world in drawn for one in world.kinds if one.name == name] for name, _ in _KINDS}
    events = [event for world in drawn for some in world.rounds for event in some]
    caps: list[Limit | None] = [world.cap for world in drawn if world.cap] or [None]
    for _ in range(many):
        one, two = random.choices(drawn, k=2)
        world = replace(
            one,
            cap=one.cap or random.choice(caps),
            people=tuple(random.choice(people[name]) for name in _NAMES),
            rounds=tuple(tuple(random.choices(events, k=random.randint(1, 3))) for _ in range(2)),
            kinds=tuple(_limited(some, random) for some in kinds.values() if some and random.random() < 0.9),
            defaults=two.defaults,
            parents=two.parents,
        )
        yield replace(world, slots=tuple(_used(world, random)))


def _limited(kinds: Sequence[Kind], random: Random) -> Kind:
    return max(random.choices(kinds, k=2), key=lambda kind: kind.throttle is not None)


def _used(world: World, random: Random) -> Iterator[Slots]:
    """Use up some of the slots there are."""
    limits = [(f"type:{kind.name}", kind.throttle) for kind in world.kinds]
    limits += [("cap:", world.cap), *((f"cap:{name}", cap) for name, cap in world.caps.items())]
    for scope, limit in limits:
        for person in world.people:
            for channel in sorted(limit.channels) if limit else ():
                if random.random() < 0.6:
                    ages = sorted(random.choices(_AGES, k=random.randint(1, 3)), reverse=True)
                    yield Slots(person.id, scope, channel, tuple(ages))
