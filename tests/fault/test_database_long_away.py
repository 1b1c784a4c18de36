"""PostgreSQL is away for half a minute under load: what producers, recipients and operators see meanwhile."""

import asyncio
from functools import partial

import httpx2
import pytest
from support.event_stream import open_stream
from support.faults.database_ground import USERS, DatabaseGround
from support.faults.database_sessions import assert_no_leaks
from support.faults.extra_events import announce
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(400), pytest.mark.extended]

AWAY_SECONDS = 30.0


async def test_half_a_minute_without_the_database(database_ground: DatabaseGround) -> None:
    ground, platform = database_ground, database_ground.platform
    async with traffic(platform) as flow:
        await flow.accepted(10)
        person = flow.people[0]
        token = await flow.tenant.token(person)
        async with open_stream(platform.api_url, token) as stream:
            await stream.next("ready", seconds=30)
            began = asyncio.get_running_loop().time()
            await asyncio.to_thread(ground.postgres.stop)
            await _recipients_are_told(platform.api_url, token)
            for name in USERS:
                await eventually(partial(_is_not_ready, ground, name), seconds=20, what=f"{name} to be red")
            left = AWAY_SECONDS - (asyncio.get_running_loop().time() - began)
            with pytest.raises(TimeoutError):  # nobody is accepted meanwhile
                await asyncio.wait_for(flow.accepted(1, seconds=AWAY_SECONDS * 2), max(left, 1))
            await asyncio.to_thread(ground.postgres.start)
            await flow.accepted(10)
            stream.waiting()
            await announce(flow)
            await stream.next("notification", seconds=60)  # the stream has outlived it all
    (await check(platform, flow.ledger, seconds=120)).assert_clean()
    for name in USERS:
        await platform.ready(name)
    await assert_no_leaks(ground)


async def _recipients_are_told(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as http:
        reply = await http.get("/v1/inbox")
    assert reply.status_code == 503, reply.text
    assert reply.headers["content-type"].startswith("application/problem+json")
    assert int(reply.headers["Retry-After"]) > 0


async def _is_not_ready(ground: DatabaseGround, name: str) -> bool:
    url = ground.platform.url_of(name)
    async with httpx2.AsyncClient(base_url=url, timeout=10, trust_env=False) as http:
        alive, ready = await http.get("/livez"), await http.get("/readyz?verbose")
    assert alive.status_code == 200
    return ready.status_code == 503 and ready.json()["checks"]["database"] != "ok"
