"""What piles up in quiet hours is one message in the morning, on a real PostgreSQL."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from support.digesting import gather, lease, newest_carrier, send_one, settle, state_of, states_of
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_people import end_quiet_hours, give_quiet_hours, make_due


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


async def test_what_piles_up_in_quiet_hours_is_one_digest_in_the_morning(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, worker: asyncpg.Pool
) -> None:
    await give_quiet_hours(planning, "u-1")
    events = [await send_one(planning, {"n": n}) for n in range(3)]
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    carrier = await newest_carrier(planning)
    assert await lease(worker, carrier["id"]) == ("leased", [0, 1, 2])
    assert (await planning.event(carrier["event_id"]))["data"]["kind"] == "quiet_hours"
    await settle(worker, carrier["id"], "sent")
    assert await states_of(planning, *events) == ["sent"] * 3


async def test_a_digest_due_in_quiet_hours_is_merged_into_that_of_the_morning(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    await give_quiet_hours(planning, "u-1")
    events.append(await send_one(planning, {"n": 9}))
    await make_due(planning)
    assert await holds.release() == 0
    assert [await state_of(planning, event) for event in events] == [("held", "quiet_hours", None)] * 4
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert await lease(worker, (await newest_carrier(planning))["id"]) == ("leased", [0, 1, 2, 9])


async def test_a_digest_that_a_worker_meets_in_quiet_hours_waits_by_itself(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await newest_carrier(planning)
    await give_quiet_hours(planning, "u-1")
    assert await lease(worker, carrier["id"]) == ("quiet", [])
    assert await holds.release() == 0
    assert await state_of(planning, carrier["event_id"]) == ("held", "quiet_hours", None)
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert await lease(worker, carrier["id"]) == ("leased", [0, 1, 2])
    assert await states_of(planning, *events) == ["held"] * 3
