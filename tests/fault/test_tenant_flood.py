"""One tenant sends ten times as much as all others together; the others hardly notice (F39)."""

import asyncio
import statistics
import time

import pytest
from support.audience import address_of, register_many
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(400), pytest.mark.extended, pytest.mark.alone]

MESSAGE = {"title": "Hello", "body": "There"}
SAMPLES = 8


async def _journey(platform: Platform, tenant: Tenant, n: int) -> float:
    """Send one event to one person over two channels; return the seconds until both have it."""
    person = f"p-{n}"
    began = time.monotonic()
    event = await tenant.send(
        type="message", data=MESSAGE, audience={"users": [person]}, channels=["email", "inapp"]
    )

    async def arrived() -> bool:
        found = await tenant.call("GET", f"/v1/events/{event}")
        return bool(found["progress"]["by_status"] == {"sent": 1, "delivered": 1})

    await eventually(arrived, seconds=120, what="another tenant's event to arrive")
    took = time.monotonic() - began
    mails = await platform.mock("/api/mail", to=address_of(tenant, person), limit=10, detail=False)
    assert len(mails["items"]) == 1
    return took


async def _broadcast(platform: Platform, tenant: Tenant, people: int) -> None:
    await register_many(platform, tenant, people)
    await tenant.send(type="message", data=MESSAGE, audience={"everyone": True}, channels=["email", "inapp"])


async def _many_events(platform: Platform, tenant: Tenant, events: int) -> None:
    await register_many(platform, tenant, 50)
    for start in range(0, events, 500):
        batch = [
            {
                "type": "message",
                "data": MESSAGE,
                "audience": {"users": [f"p-{1 + n % 50}"]},
                "channels": ["email", "inapp"],
            }
            for n in range(start, start + 500)
        ]
        await tenant.call("POST", "/v1/events", expect=202, json=batch)


@pytest.mark.parametrize(
    ("flood", "size"),
    [
        pytest.param(_broadcast, 5_000, id="a broadcast"),
        pytest.param(_many_events, 8_000, id="many events"),
        pytest.param(_broadcast, 20_000, id="a large broadcast"),
    ],
)
async def test_another_tenants_events_arrive_in_time(
    shared_ground: Platform, flood: object, size: int
) -> None:
    assert callable(flood)
    loud, quiet = await shared_ground.new_tenant(), await shared_ground.new_tenant()
    await register_many(shared_ground, quiet, 2 * SAMPLES)
    before = [await _journey(shared_ground, quiet, n) for n in range(1, SAMPLES + 1)]
    await flood(shared_ground, loud, size)

    async def is_heavy() -> bool:
        """The flood is on its way, and most of it is still to come."""
        counts = await shared_ground.mock("/api/mail/count", to=f"*@{loud.slug}.example.org")
        return int(counts["count"]) > 20

    await eventually(is_heavy, seconds=60, what="the flood to reach the provider")
    during = [await _journey(shared_ground, quiet, n) for n in range(SAMPLES + 1, 2 * SAMPLES + 1)]
    left = await shared_ground.mock("/api/mail/count", to=f"*@{loud.slug}.example.org")
    assert left["count"] < size, "the flood was over before it could disturb anybody"
    allowed = max(2.0, 2.5 * statistics.median(before))
    figures = f"before {[round(x, 2) for x in before]}, during {[round(x, 2) for x in during]}"
    assert statistics.median(during) <= allowed, figures
    assert max(during) <= 2 * allowed, figures
    await _over(shared_ground, loud)


async def _over(platform: Platform, tenant: Tenant) -> None:
    """Wait until nothing of the flood is under way, so that the next test begins in peace."""
    pool = await platform.database.pool(max_size=1)

    async def is_over() -> bool:
        return not await pool.fetchval(
            "SELECT EXISTS (SELECT FROM carillon.deliveries WHERE tenant_id = $1 "
            "AND status IN ('queued', 'sending', 'retrying', 'unknown', 'held'))",
            tenant.id,
        )

    await eventually(is_over, seconds=200, what="the flood to be over")
    await asyncio.gather(pool.close())
