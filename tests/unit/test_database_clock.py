"""The database's time, carried on by the machine's monotonic clock."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from carillon_shared.db.clock import DatabaseClock
from carillon_shared.db.pool import Pool

THERE = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HERE = THERE + timedelta(hours=1)


@dataclass
class Machine:
    """A machine whose time of day is an hour ahead."""

    seconds: float = 1000.0
    moment: datetime = HERE

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Database:
    """Answers with its own time, some time after it was asked."""

    machine: Machine
    moment: datetime = THERE
    takes: float = 0.0
    asked: list[str] = field(default_factory=list)

    async def fetchval(self, query: str) -> datetime:
        self.asked.append(query)
        self.machine.seconds += self.takes
        return self.moment


@pytest.fixture
def database() -> Database:
    return Database(Machine())


def _clock(database: Database) -> DatabaseClock:
    return DatabaseClock(cast("Pool", database), machine=database.machine)


async def test_it_is_the_databases_and_goes_on(database: Database) -> None:
    clock = _clock(database)
    assert clock.now() == HERE  # nobody has looked yet
    await clock.look()
    assert clock.now() == THERE
    database.machine.seconds += 5
    database.machine.moment -= timedelta(hours=3)  # somebody sets the machine's clock
    assert clock.now() == THERE + timedelta(seconds=5)


async def test_the_answer_is_as_old_as_half_its_way(database: Database) -> None:
    clock = _clock(database)
    database.takes = 0.5
    await clock.look()
    assert clock.now() == THERE + timedelta(seconds=0.25)


async def test_a_slow_answer_does_not_spoil_what_is_known(database: Database) -> None:
    clock = _clock(database)
    await clock.look()
    database.takes, database.moment = 20.0, THERE + timedelta(seconds=1)
    await clock.look()
    assert clock.now() == THERE + timedelta(seconds=20)


async def test_a_slow_answer_is_better_than_none(database: Database) -> None:
    clock = _clock(database)
    database.takes = 4.0
    await clock.look()
    assert clock.now() == THERE + timedelta(seconds=2)
