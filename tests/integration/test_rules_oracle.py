"""The database against the oracle: thousands of tenants, each with people, choices, types and events."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from uuid import UUID

import pytest
from carillon_dispatcher.planning.rows import Verdict
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.db.pool import Pool
from hypothesis import HealthCheck, Phase, given, settings
from support.migrated import MigratedDatabase
from support.oracle import Decision, Place, World, verdicts
from support.oracle_store import Planner, plan, store
from support.oracle_worlds import crossed, worlds

_TOGETHER = 100  # worlds whose events are planned in one statement
_PREFIXES = (f"w{n}" for n in count())


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def dispatcher(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool("carillon_dispatcher")
    yield pool
    await pool.close()


def _drawn(many: int, *, limits: bool) -> list[World]:
    found: list[World] = []

    @settings(
        max_examples=many,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds(limits=limits))
    def collect(world: World) -> None:
        found.append(world)

    collect()
    return found


@pytest.mark.parametrize("limits", [False, True], ids=["plain", "limited"])
@pytest.mark.parametrize(
    "many",
    [pytest.param(1_500, id="many"), pytest.param(20_000, id="very-many", marks=pytest.mark.extended)],
)
@pytest.mark.timeout(900)
async def test_the_database_decides_as_the_oracle_does(
    owner: Pool, dispatcher: Pool, many: int, *, limits: bool
) -> None:
    plans = PlanStore(dispatcher, range_size=1_000_000)

    async def planned(events: Sequence[UUID]) -> None:
        assert set((await plans.plan_events(events)).values()) == {Verdict.PLANNED}

    await _compare(owner, planned, _various(many, limits=limits))


@pytest.mark.parametrize("limits", [False, True], ids=["plain", "limited"])
@pytest.mark.parametrize(
    "many",
    [pytest.param(150, id="many"), pytest.param(2_000, id="very-many", marks=pytest.mark.extended)],
)
@pytest.mark.timeout(900)
async def test_ranges_of_one_event_are_decided_as_the_oracle_does(
    owner: Pool, dispatcher: Pool, many: int, *, limits: bool
) -> None:
    plans = PlanStore(dispatcher, range_size=2)

    async def planned(events: Sequence[UUID]) -> None:
        for event in events:
            for key, _ in await plans.cut(event):
                verdict, _ = await plans.plan_range(key)
                assert verdict is Verdict.PLANNED

    worlds_ = [
        replace(world, rounds=tuple((event,) for events in world.rounds for event in events))
        for world in _various(many, limits=limits)
    ]
    await _compare(owner, planned, worlds_)


def _various(many: int, *, limits: bool) -> list[World]:
    drawn = _drawn(min(many // 2, 100), limits=limits)
    return [*drawn, *crossed(drawn, many - len(drawn), Random())]  # noqa: S311 - a failure shows its world


async def _compare(owner: Pool, planned: Planner, various: Sequence[World]) -> None:
    wrong: list[str] = []
    decided = 0
    for start in range(0, len(various), _TOGETHER):
        some = various[start : start + _TOGETHER]
        tenants = await store(owner, some, prefix=next(_PREFIXES))
        found, moments = await plan(owner, planned, some, tenants)
        for world, rows in zip(some, found, strict=True):
            expected = verdicts(world, moments)
            decided += len(expected)
            differences = list(_differences(expected, rows))
            if differences:
                wrong.append(f"{world!r}\nplanned at {moments}\n" + "\n".join(differences))
    assert not wrong, f"{len(wrong)} of {len(various)} worlds; the smallest: {min(wrong, key=len)}"
    assert decided > len(various)  # most worlds have something to decide


def _differences(expected: dict[Place, Decision], found: dict[Place, Decision]) -> Iterator[str]:
    for place in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(place), found.get(place)
        if wanted is None or got is None or wanted[:3] != got[:3] or not _is_same_moment(wanted, got):
            yield f"{place}: the oracle says {wanted}, the database {got}"


def _is_same_moment(wanted: Decision, got: Decision) -> bool:
    """Compare when a hold ends: exactly for quiet hours, about for slots, whose clock runs on."""
    if wanted.until is None:
        return True
    slack = timedelta() if wanted.hold_reason == "quiet_hours" else timedelta(seconds=60)
    return isinstance(got.until, datetime) and abs(wanted.until - got.until) <= slack
