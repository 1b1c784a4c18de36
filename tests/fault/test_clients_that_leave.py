"""Clients leave at random points of their requests (F20)."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from uuid import UUID, uuid4

import pytest
from support.audience import register_many
from support.faults.database_faults import superuser
from support.faults.database_ground import DatabaseGround
from support.faults.database_sessions import assert_no_leaks
from support.faults.invariants import check
from support.faults.leavers import Request, send_and_leave
from support.faults.ledger import Accepted, Ledger
from support.faults.mix import Draft, Mix, register_types
from support.faults.sockets import deserted_sockets
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

EVENTS = 300
REQUESTS = 2_000
AT_ONCE = 60


def _requests(tenant: Tenant, drafts: list[Draft], person_token: str) -> Iterator[Request]:
    """Yield posts of every event, and between them reads of what they become."""
    reads = cycle(
        [
            Request.of("GET", "/v1/deliveries?limit=200", token=tenant.key),
            Request.of("GET", "/v1/inbox", token=person_token),
            Request.of("GET", "/v1/inbox/stream", token=person_token),
            Request.of("POST", "/v1/inbox/read-all", token=person_token),
        ]
    )
    for draft in cycle(drafts):
        yield Request.of("POST", "/v1/events", token=tenant.key, body=draft.body)
        yield next(reads)


async def _storm(platform: Platform, requests: Iterator[Request]) -> None:
    draw = random.Random(20)  # noqa: S311 -- when somebody leaves is no secret
    places = asyncio.Semaphore(AT_ONCE)

    async def one(request: Request) -> None:
        async with places:
            await send_and_leave(platform.api_url, request, draw)

    await asyncio.gather(*(one(next(requests)) for _ in range(REQUESTS)))


async def _post(ledger: Ledger, draft: Draft) -> None:
    """Post an event as a producer does that never heard what became of it."""
    event = UUID(await ledger.tenant.send(**draft.body))
    own, source = str(draft.body["id"]), str(draft.body["source"])
    ledger.accepted[own] = Accepted(event, source, own, draft.body["type"], draft.pairs, datetime.now(UTC))


async def test_nothing_is_half_done_and_nothing_leaks(database_ground: DatabaseGround) -> None:
    platform = database_ground.platform
    tenant = await platform.new_tenant()
    await register_types(tenant)
    people = await register_many(platform, tenant, 12, with_phone=True)
    mix = Mix(people, source=f"/faults/{uuid4().hex[:8]}", seed=20)
    drafts = [mix.next() for _ in range(EVENTS)]
    ledger = Ledger(tenant)
    await _post(ledger, drafts[0])
    await _storm(platform, _requests(tenant, drafts, await tenant.token(people[0])))
    taken = await _taken(database_ground, tenant)
    assert 0 < taken < EVENTS, "some must have left in time, and some too late"
    for draft in drafts[1:]:
        await _post(ledger, draft)
    (await check(platform, ledger, seconds=120)).assert_clean()
    await assert_no_leaks(database_ground)

    async def all_let_go() -> bool:
        return deserted_sockets(platform.processes["api"].pid) == 0

    await eventually(all_let_go, seconds=60, what="the sockets of those who left to be closed")
    assert '"level": "error"' not in platform.log_tail("api", size=10_000_000)


async def _taken(ground: DatabaseGround, tenant: Tenant) -> int:
    async with superuser(ground) as session:
        count = await session.fetchval("SELECT count(*) FROM carillon.events WHERE tenant_id = $1", tenant.id)
        return int(count)
