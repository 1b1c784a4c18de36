"""When the window of a digest opens and ends, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from support.digesting import DIGEST, MAIL, gather, lease, newest_carrier, send_one, states_of
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_people import make_due


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=3) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def holds(planning: Planning, publisher: RecordingPublisher) -> DueHolds:
    return DueHolds(planning.dispatcher, publisher, batch=100)


@pytest.fixture
async def worker(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Pool]:
    pool = await migrated.pool("carillon_email_worker")
    yield pool
    await pool.close()


async def _window(planning: Planning) -> tuple[timedelta, timedelta | None]:
    row = await planning.owner.fetchrow(
        """SELECT closes_at - opened_at AS open, last_at - opened_at AS most FROM carillon.digests
        WHERE closed_at IS NULL"""
    )
    assert row is not None
    return row["open"], row["most"]


async def _age(planning: Planning, seconds: int) -> None:
    """Let the open digest be so many seconds older."""
    await planning.owner.execute(
        """UPDATE carillon.digests SET opened_at = opened_at - make_interval(secs => $1),
        closes_at = closes_at - make_interval(secs => $1), last_at = last_at - make_interval(secs => $1)""",
        seconds,
    )


async def test_a_fixed_window_ends_when_it_was_to_end(planning: Planning) -> None:
    await gather(planning, 1)
    await _age(planning, 500)
    await send_one(planning)
    open_for, most = await _window(planning)
    assert timedelta(seconds=599) < open_for < timedelta(seconds=601)
    assert most is None


async def test_a_sliding_window_waits_for_silence_but_not_for_ever(planning: Planning) -> None:
    await gather(planning, 1, window="sliding", max_seconds=1000)
    await _age(planning, 300)
    await send_one(planning)
    open_for, _ = await _window(planning)
    assert timedelta(seconds=899) < open_for < timedelta(seconds=902)
    await _age(planning, 300)
    await send_one(planning)
    open_for, most = await _window(planning)
    assert open_for == most
    assert timedelta(seconds=999) < open_for < timedelta(seconds=1002)


async def test_the_first_goes_at_once_and_the_rest_is_gathered(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, worker: asyncpg.Pool
) -> None:
    events = await gather(planning, 3, first_at_once=True)
    assert await states_of(planning, *events) == ["queued", "held", "held"]
    await make_due(planning)
    assert await holds.release() == 1
    assert await lease(worker, (await newest_carrier(planning))["id"]) == ("leased", [1, 2])
    assert await states_of(planning, await send_one(planning)) == ["queued"]


async def test_of_several_planned_together_one_goes_at_once(planning: Planning) -> None:
    await planning.add_type(digest=DIGEST | {"first_at_once": True})
    events = [await planning.add_event({"users": ["u-1", "u-2"]}, channels=MAIL) for _ in range(3)]
    await planning.plan(*events)
    assert [await planning.statuses(event) for event in events] == [{"queued": 2}, {"held": 2}, {"held": 2}]


async def test_a_window_in_which_nothing_more_came_ends_in_silence(
    planning: Planning, holds: DueHolds
) -> None:
    await gather(planning, 1, first_at_once=True)
    await make_due(planning)
    assert await holds.release() == 0
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.deliveries WHERE carrier") == 0
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.digests WHERE closed_at IS NULL") == 0
