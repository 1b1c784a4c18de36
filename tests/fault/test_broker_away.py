"""The broker is stopped while events arrive."""

import asyncio

import pytest
from support.audience import address_of, register_many

from .conftest import Ground

pytestmark = pytest.mark.timeout(180)


async def test_all_are_accepted_and_delivered_after_it_returns(ground: Ground) -> None:
    tenant = await ground.platform.new_tenant()
    (person,) = await register_many(ground.platform, tenant, 1)
    content = {"title": "Hello", "body": "There"}
    event = {"type": "message", "data": content, "audience": {"users": [person]}, "channels": ["email"]}
    before = [await tenant.send(**event) for _ in range(5)]
    await asyncio.to_thread(ground.rabbitmq.stop)
    during = [await tenant.send(**event) for _ in range(20)]
    readiness = await tenant.http.get("/readyz", params={"verbose": ""})
    assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")
    await asyncio.to_thread(ground.rabbitmq.start)
    after = [await tenant.send(**event) for _ in range(5)]
    for one in before + during + after:
        await tenant.event_is(one, sent=1)
    mails = await ground.platform.mails_to(address_of(tenant, person), count=30)
    assert len(mails) == 30
