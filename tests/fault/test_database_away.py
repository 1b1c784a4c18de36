"""PostgreSQL is stopped and comes back."""

import asyncio

import pytest
from support.audience import address_of, register_many
from support.waiting import eventually

from .conftest import Ground

pytestmark = pytest.mark.timeout(180)


async def test_intake_answers_503_and_everything_recovers_by_itself(ground: Ground) -> None:
    tenant = await ground.platform.new_tenant()
    (person,) = await register_many(ground.platform, tenant, 1)
    content = {"title": "Hello", "body": "There"}
    event = {"type": "message", "data": content, "audience": {"users": [person]}, "channels": ["email"]}
    before = [await tenant.send(**event) for _ in range(5)]
    await asyncio.to_thread(ground.postgres.stop)
    refused = [await tenant.http.post("/v1/events", json={**event, "id": f"x-{n}"}) for n in range(3)]
    for reply in refused:
        assert reply.status_code == 503, reply.text
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.headers["content-type"].startswith("application/problem+json")
    assert (await tenant.http.get("/readyz")).status_code == 503
    assert (await tenant.http.get("/livez")).status_code == 200
    await asyncio.to_thread(ground.postgres.start)

    async def accepts() -> bool:
        return (await tenant.http.post("/v1/events", json={**event, "id": "x-0"})).status_code == 202

    await eventually(accepts, seconds=30, what="the API to accept again")
    after = [await tenant.send(**event) for _ in range(5)]
    for one in before + after:
        await tenant.event_is(one, sent=1)
    # x-0 was accepted after the return, x-1 and x-2 never were: nothing half-done is left of them.
    mails = await ground.platform.mails_to(address_of(tenant, person), count=11)
    assert len(mails) == 11
    listed = await tenant.call("GET", "/v1/events", params={"limit": 200})
    assert len(listed["data"]) == 11
