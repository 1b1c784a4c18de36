"""The server ends single connections of every service, at random moments, while traffic runs."""

import random

import pytest
from support.faults.database_faults import superuser
from support.faults.database_ground import USERS, DatabaseGround
from support.faults.database_sessions import assert_no_leaks
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

KILLS = 20
# The busiest moment is the best: sessions that are at work come first.
_END_ONE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = $1
    ORDER BY state = 'active' DESC, random() LIMIT 1
"""


async def test_twenty_ended_connections_lose_and_leak_nothing(database_ground: DatabaseGround) -> None:
    ground = database_ground
    draw = random.Random(7)  # noqa: S311 -- which connection is ended is no secret
    users = draw.choices(list(USERS.values()), k=KILLS)
    async with traffic(ground.platform, rate=25) as flow, superuser(ground) as session:
        await flow.accepted(10)
        for user in users:

            async def end_one(user: str = user) -> bool:
                return await session.fetchval(_END_ONE, user) is True

            await eventually(end_one, seconds=30, what=f"a session of {user} to end")
            await flow.accepted(2)
    (await check(ground.platform, flow.ledger, seconds=120)).assert_clean()
    await assert_no_leaks(ground)
    for name in USERS:
        assert ground.platform.processes[name].returncode is None, ground.platform.log_tail(name)
