"""Hundreds of clients at once, more than there are connections, and clients that dawdle (F18)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import httpx2
import orjson
import pytest
from support.faults.database_sessions import LIMITS, sessions
from support.faults.invariants import check
from support.faults.leavers import Request
from support.faults.ledger import Accepted
from support.faults.mix import Draft, Mix
from support.faults.raw_clients import Answer, ask, ask_slowly
from support.faults.traffic import Traffic, prepare_traffic, traffic
from support.platform import Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

READERS = 200
PRODUCERS = 400
DAWDLERS = 100
BODY_SECONDS = 3.0


async def test_more_readers_than_connections_get_a_503_and_then_all_an_answer(
    shared_ground: Platform,
) -> None:
    platform = shared_ground
    async with traffic(platform) as flow:
        await flow.accepted(10)
        request = Request.of("GET", "/v1/inbox", token=await flow.tenant.token(flow.people[0]))
        async with _feeds_locked(platform):
            answers = await _crowd(platform, request)
            assert {answer.status for answer in answers} == {503}
            for answer in answers:
                assert int(answer.headers["retry-after"]) > 0
                assert answer.headers["content-type"] == "application/problem+json"
            assert await _is_alive(platform)
        await _everybody_is_served(platform, request)
        await flow.accepted(10)
    (await check(platform, flow.ledger)).assert_clean()
    assert await _sessions_of_api(platform) <= LIMITS["api"]


@pytest.mark.alone
@pytest.mark.extended
async def test_hundreds_of_producers_at_once_are_answered_and_nothing_is_lost(
    shared_ground: Platform,
) -> None:
    platform = shared_ground
    flow = await prepare_traffic(platform)
    mix = Mix(flow.people, source="/faults/storm", seed=18)
    drafts = [mix.next() for _ in range(PRODUCERS)]
    answered = Counter[int]()
    await asyncio.gather(*(_post(flow, draft, answered) for draft in drafts))
    assert set(answered) <= {202, 429, 503}
    assert len(flow.ledger.accepted) == PRODUCERS
    (await check(platform, flow.ledger)).assert_clean()
    assert await _sessions_of_api(platform) <= LIMITS["api"]


async def test_clients_that_send_a_byte_now_and_then_hold_nobody_up(shared_ground: Platform) -> None:
    platform = shared_ground
    async with _impatient_api(platform), traffic(platform) as flow:
        await flow.accepted(5)
        body = {"type": "message", "data": {"title": "Hello", "body": "x" * 1000}, "audience": {"users": []}}
        paths = [("POST", "/v1/events"), ("PUT", "/v1/subscribers/slow")]
        slow = [Request.of(method, path, token=flow.tenant.key, body=body) for method, path in paths]
        dawdling = [
            asyncio.create_task(ask_slowly(platform.api_url, request, pause=0.3))
            for request in slow * (DAWDLERS // len(slow))
        ]
        await flow.accepted(20)
        assert flow.ledger.postponed == 0  # they are a hundred, and nobody else has noticed
        answers = await asyncio.gather(*dawdling)
        assert {answer.status for answer in answers} == {408}
        assert {answer.headers["connection"] for answer in answers} == {"close"}
    (await check(platform, flow.ledger)).assert_clean()


async def _crowd(platform: Platform, request: Request) -> list[Answer]:
    """Ask the same as many clients at once."""
    return list(await asyncio.gather(*(ask(platform.api_url, request) for _ in range(READERS))))


async def _post(flow: Traffic, draft: Draft, answered: Counter[int]) -> None:
    """Post an event, as often as it is refused for a while, and write it into the ledger."""
    request = Request.of("POST", "/v1/events", token=flow.tenant.key, body=draft.body)
    while True:
        answer = await ask(str(flow.tenant.http.base_url), request)
        answered[answer.status] += 1
        if answer.status not in {429, 503}:
            break
        await asyncio.sleep(int(answer.headers["retry-after"]))
    event = UUID(orjson.loads(answer.body)["id"])
    own = str(draft.body["id"])
    flow.ledger.accepted[own] = Accepted(
        event, draft.body["source"], own, draft.body["type"], draft.pairs, datetime.now(UTC)
    )


@asynccontextmanager
async def _feeds_locked(platform: Platform) -> AsyncIterator[None]:
    """Let every statement about feeds wait, so that connections are held as long as they may be."""
    database = platform.database
    connection = await asyncpg.connect(database.service.superuser_url_of(database.name), timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE carillon.feeds IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close(timeout=10)


@asynccontextmanager
async def _impatient_api(platform: Platform) -> AsyncIterator[None]:
    """Restart the API with little time for bodies; afterwards restart it with as much as usual."""
    before = dict(platform.extra.get("api", {}))
    platform.extra["api"] = before | {"CARILLON_API_BODY_SECONDS": f"{BODY_SECONDS}"}
    await platform.restart("api")
    yield
    platform.extra["api"] = before
    await platform.restart("api")


async def _is_alive(platform: Platform) -> bool:
    async with httpx2.AsyncClient(base_url=platform.api_url, trust_env=False, timeout=5) as http:
        return (await http.get("/livez")).status_code == 200


async def _everybody_is_served(platform: Platform, request: Request) -> None:
    async def look() -> bool:
        answers = await _crowd(platform, request)
        return {answer.status for answer in answers} == {200}

    await eventually(look, seconds=60, what="every reader to get an answer")


async def _sessions_of_api(platform: Platform) -> int:
    pool = await platform.database.pool(max_size=1)
    found = (await sessions(pool))["api"]
    await pool.close()
    return found
