"""An event to fifty thousand people cancelled midway: the numbers add up, and nothing leaves after them."""

from typing import Any

import pytest
from support.audience import register_many
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = [pytest.mark.extended, pytest.mark.timeout(400)]

PEOPLE = 50_000
SOME = 3_000  # delivered before the cancel


async def _announce(ground: Platform, tenant: Tenant) -> str:
    await tenant.call("PUT", "/v1/event-types/news.published", json={"channels": ["inapp"]}, expect=201)
    content = {"title": "News", "body": "Read them."}
    await tenant.http.put("/v1/event-types/news.published/templates/inapp/en", json=content)
    await register_many(ground, tenant, PEOPLE)
    return await tenant.send(type="news.published", data={}, audience={"everyone": True})


async def _delivered(tenant: Tenant, event: str) -> int:
    found = await tenant.call("GET", f"/v1/events/{event}")
    return int(found["progress"]["by_status"].get("delivered", 0))


async def _feed_items(ground: Platform, tenant: Tenant) -> int:
    pool = await ground.database.pool(max_size=1)
    count = await pool.fetchval("SELECT count(*) FROM carillon.feed_items WHERE tenant_id = $1", tenant.id)
    await pool.close()
    return int(count)


async def _has_stopped(tenant: Tenant, event: str) -> dict[str, Any]:
    """Wait until nothing of a cancelled event is open, and return the event."""

    async def look() -> Any:
        found = await tenant.call("GET", f"/v1/events/{event}")
        by_status = found["progress"]["by_status"]
        return found if not by_status.keys() & {"queued", "sending", "retrying", "held", "unknown"} else None

    found: dict[str, Any] = await eventually(look, seconds=120, what="the rest to be marked as cancelled")
    return found


async def test_the_numbers_are_exact_in_the_middle_of_a_fanout(shared_ground: Platform) -> None:
    tenant = await shared_ground.new_tenant()
    event = await _announce(shared_ground, tenant)

    async def begun() -> bool:
        return await _delivered(tenant, event) >= SOME

    await eventually(begun, seconds=120, what=f"{SOME} of {PEOPLE} delivered")
    answer = await tenant.call("DELETE", f"/v1/events/{event}")
    assert sum(answer.values()) == PEOPLE
    assert answer["already_sent"] >= SOME
    assert answer["stopped"] + answer["unplanned"] > 0, "it was over before it was cancelled"
    found = await _has_stopped(tenant, event)
    assert found["cancellation"] == answer | {"in_flight": 0} | _resolved(found, answer)
    sent = found["cancellation"]["already_sent"]
    assert answer["already_sent"] <= sent <= answer["already_sent"] + answer["in_flight"]
    assert await _feed_items(shared_ground, tenant) == sent
    assert await tenant.call("DELETE", f"/v1/events/{event}") == found["cancellation"]


def _resolved(found: dict[str, Any], answer: dict[str, int]) -> dict[str, int]:
    """Return how what was in flight has ended: sent or stopped, and nothing else."""
    by_status = found["progress"]["by_status"]
    sent, stopped = by_status.get("delivered", 0), by_status.get("cancelled", 0)
    assert sent + stopped + answer["unplanned"] == PEOPLE
    return {"already_sent": sent, "stopped": stopped}


async def test_a_dispatcher_killed_meanwhile_changes_nothing(shared_ground: Platform) -> None:
    tenant = await shared_ground.new_tenant()
    event = await _announce(shared_ground, tenant)

    async def begun() -> bool:
        return await _delivered(tenant, event) > 0

    await eventually(begun, seconds=120, what="the first to be delivered")
    await shared_ground.kill("dispatcher")
    answer = await tenant.call("DELETE", f"/v1/events/{event}")
    assert sum(answer.values()) == PEOPLE
    await shared_ground.start("dispatcher")
    found = await _has_stopped(tenant, event)
    assert found["cancellation"]["unplanned"] == answer["unplanned"]
    assert sum(found["cancellation"].values()) == PEOPLE
    assert await _feed_items(shared_ground, tenant) == found["cancellation"]["already_sent"]
