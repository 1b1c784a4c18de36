"""The database against the oracle: thousands of tenants, each with people, choices, types and events."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from itertools import count
from random import Random

import pytest
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.db.pool import Pool
from hypothesis import HealthCheck, Phase, given, settings
from support.migrated import MigratedDatabase
from support.oracle import Place, Verdict, World, verdicts
from support.oracle_store import plan, store
from support.oracle_worlds import crossed, worlds

_TOGETHER = 100  # worlds whose events are planned in one statement
_PREFIXES = (f"w{n}" for n in count())


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def planner(migrated: MigratedDatabase) -> AsyncIterator[PlanStore]:
    pool = await migrated.pool("carillon_dispatcher")
    yield PlanStore(pool, range_size=1_000_000)
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
async def test_the_database_decides_as_the_oracle_does(
    owner: Pool, planner: PlanStore, many: int, *, limits: bool
) -> None:
    wrong: list[str] = []
    decided = 0
    drawn = _drawn(200, limits=limits)
    various = [*drawn, *crossed(drawn, many - len(drawn), Random())]  # noqa: S311 - a failure shows its world
    for start in range(0, many, _TOGETHER):
        some = various[start : start + _TOGETHER]
        tenants = await store(owner, some, prefix=next(_PREFIXES))
        found, moments = await plan(owner, planner, some, tenants)
        for world, rows in zip(some, found, strict=True):
            expected = verdicts(world, moments)
            decided += len(expected)
            differences = list(_differences(expected, rows))
            if differences:
                wrong.append(f"{world!r}\nplanned at {moments}\n" + "\n".join(differences))
    assert not wrong, f"{len(wrong)} of {many} worlds; the smallest: {min(wrong, key=len)}"
    assert decided > many  # most worlds have something to decide


def _differences(expected: dict[Place, Verdict], found: dict[Place, Verdict]) -> Iterator[str]:
    for place in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(place), found.get(place)
        if wanted is None or got is None or wanted[:3] != got[:3] or not _is_same_moment(wanted, got):
            yield f"{place}: the oracle says {wanted}, the database {got}"


def _is_same_moment(wanted: Verdict, got: Verdict) -> bool:
    """Compare when a hold ends: exactly for quiet hours, about for slots, whose clock runs on."""
    if wanted.until is None:
        return True
    slack = timedelta() if wanted.hold_reason == "quiet_hours" else timedelta(seconds=60)
    return isinstance(got.until, datetime) and abs(wanted.until - got.until) <= slack
