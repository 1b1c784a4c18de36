"""PostgreSQL is restarted under load: while events arrive, while a large one is planned, while it is sent."""

import asyncio
from collections.abc import Callable

import pytest
from support.faults.database_ground import DatabaseGround
from support.faults.database_sessions import assert_no_leaks
from support.faults.extra_events import announce
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

PEOPLE = 100
_PLANNING = """
    SELECT count(*) FILTER (WHERE planned_at IS NULL) > 0 AND count(planned_at) > 0
    FROM carillon.fanout_ranges WHERE event_id = $1
"""
_SENDING = "SELECT EXISTS (SELECT FROM carillon.deliveries WHERE event_id = $1 AND status = 'sending')"


def _fast(ground: DatabaseGround) -> None:
    ground.postgres.stop()


def _immediate(ground: DatabaseGround) -> None:
    ground.postgres.stop(at_once=True)


def _killed(ground: DatabaseGround) -> None:
    ground.postgres.kill()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(_fast, id="fast", marks=pytest.mark.extended),
        pytest.param(_immediate, id="immediate", marks=pytest.mark.extended),
        pytest.param(_killed, id="killed"),
    ],
)
async def test_a_restart_in_any_phase_loses_nothing_and_leaks_nothing(
    database_ground: DatabaseGround, end: Callable[[DatabaseGround], None]
) -> None:
    ground = database_ground

    async def restart() -> None:
        await asyncio.to_thread(end, ground)
        await asyncio.to_thread(ground.postgres.start)

    async with traffic(ground.platform, people=PEOPLE, rate=10) as flow:
        await flow.accepted(15)
        await restart()  # while events arrive
        await flow.accepted(15)
        for phase in (_PLANNING, _SENDING):
            event = await announce(flow)
            await _reached(ground, phase, event)
            await restart()
            await flow.accepted(10)
    (await check(ground.platform, flow.ledger, seconds=120)).assert_clean()
    await assert_no_leaks(ground)


async def _reached(ground: DatabaseGround, phase: str, event: object) -> None:
    pool = await ground.platform.database.pool(max_size=1)

    async def look() -> bool:
        return bool(await pool.fetchval(phase, event))

    await eventually(look, seconds=60, what="the phase in which the database is to be restarted")
    pool.terminate()
