"""Machines' clocks are wrong, and are set while services run (F21): what is due goes by the database's."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from carillon_shared.db.pool import Pool
from support.faults.clocks import wrong_clock
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

HOUR = 3600.0
CONTENT = {"title": "Hello", "body": "There"}
_HALF_AN_HOUR = "UPDATE carillon.api_keys SET expires_at = now() + interval '30 minutes' WHERE tenant_id = $1"
_LIFE = "SELECT expires_at - accepted_at FROM carillon.events WHERE id = $1::text::uuid"
_AGE = "SELECT now() - max(newest_published_at) FROM carillon.queue_watermarks WHERE queue LIKE '%email%'"


async def test_three_services_disagree_and_are_set_while_they_run(
    shared_ground: Platform, tmp_path: Path
) -> None:
    platform = shared_ground
    async with (
        wrong_clock(platform, "api", tmp_path, seconds=HOUR) as of_api,
        wrong_clock(platform, "dispatcher", tmp_path, seconds=-HOUR) as of_dispatcher,
        wrong_clock(platform, "email-worker", tmp_path, seconds=HOUR) as of_worker,
    ):
        async with traffic(platform) as flow:
            await flow.accepted(20)
            of_api.set(-HOUR)
            of_dispatcher.set(HOUR)
            of_worker.set(-HOUR)
            await flow.accepted(20)
        (await check(platform, flow.ledger)).assert_clean()


@pytest.mark.extended
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
@pytest.mark.parametrize("name", ["api", "dispatcher", "email-worker", "whatsapp-worker", "inapp-worker"])
async def test_one_service_is_off_and_then_set_right(
    shared_ground: Platform, tmp_path: Path, name: str, seconds: float
) -> None:
    async with wrong_clock(shared_ground, name, tmp_path, seconds=seconds) as clock:
        async with traffic(shared_ground) as flow:
            await flow.accepted(20)
            clock.set(0)
            await flow.accepted(10)
        (await check(shared_ground, flow.ledger)).assert_clean()


async def test_expiry_and_credentials_do_not_know_the_apis_clock(
    shared_ground: Platform, tmp_path: Path
) -> None:
    platform = shared_ground
    tenant = await platform.new_tenant()
    pool = await platform.database.pool(max_size=1)
    await pool.execute(_HALF_AN_HOUR, tenant.id)
    await _put(tenant, "/v1/subscribers/anna", {"email": "anna@clocks.example"})
    await _register(tenant, "short.lived", expires_after="10m")
    await platform.start("api-2")  # its clock is right
    try:
        async with wrong_clock(platform, "api", tmp_path, seconds=-HOUR) as clock:
            for wrong in (-HOUR, HOUR):
                clock.set(wrong)
                await _is_sent_and_lives_ten_minutes(tenant, pool)
                await _tokens_are_good_at_both(platform, tenant)
    finally:
        await pool.close()
        await platform.stop("api-2")


async def test_retries_go_on_as_long_as_their_budget_and_no_longer(
    shared_ground: Platform, tmp_path: Path
) -> None:
    platform = shared_ground
    tenant = await platform.new_tenant()
    await _put(tenant, "/v1/subscribers/twice", {"email": f"retry+{tenant.slug}@clocks.example"})
    await _put(tenant, "/v1/subscribers/never", {"email": f"429+{tenant.slug}@clocks.example"})
    often = {"strategy": "fixed", "initial": "1s", "jitter": 0, "max_attempts": 50}
    await _register(tenant, "patient", retry={"email": {**often, "max_elapsed": "10m"}})
    await _register(tenant, "hasty", retry={"email": {**often, "max_elapsed": "4s"}})
    async with wrong_clock(platform, "email-worker", tmp_path, seconds=HOUR) as clock:
        # An hour since the first attempt, says the machine: the budget would be used up.
        event = await tenant.send(type="patient", data={}, audience={"users": ["twice"]})
        await tenant.event_is(event, sent=1)
        clock.set(-HOUR)  # and now an hour before it: it would never be used up
        event = await tenant.send(type="hasty", data={}, audience={"users": ["never"]})
        await tenant.event_is(event, dead=1)
        (delivery,) = await tenant.deliveries(event)
        assert 2 <= delivery["attempt"] <= 8, delivery


@pytest.mark.extended
async def test_messages_say_when_they_were_published_by_the_databases_clock(
    shared_ground: Platform, tmp_path: Path
) -> None:
    """A lost message is told from a backlog by these times."""
    platform = shared_ground
    tenant = await platform.new_tenant()
    await _put(tenant, "/v1/subscribers/anna", {"email": "anna@clocks.example"})
    pool = await platform.database.pool(max_size=1)
    async with wrong_clock(platform, "dispatcher", tmp_path, seconds=-HOUR):
        await pool.execute("DELETE FROM carillon.queue_watermarks")
        content = {"data": CONTENT, "audience": {"users": ["anna"]}, "channels": ["email"]}
        await tenant.send(type="message", **content)

        async def age() -> Any:
            return await pool.fetchval(_AGE)

        marked = await eventually(age, seconds=30, what="the worker to note when the message was published")
    await pool.close()
    assert marked < timedelta(minutes=1)


async def _put(tenant: Tenant, path: str, document: dict[str, Any]) -> None:
    reply = await tenant.http.put(path, json=document)
    assert reply.is_success, reply.text


async def _register(tenant: Tenant, name: str, **more: Any) -> None:
    await _put(tenant, f"/v1/event-types/{name}", {"channels": ["email"], **more})
    await _put(tenant, f"/v1/event-types/{name}/templates/email/en", {"subject": "Hello", "text": "There"})


async def _is_sent_and_lives_ten_minutes(tenant: Tenant, pool: Pool) -> None:
    event = await tenant.send(type="short.lived", data={}, audience={"users": ["anna"]})
    await tenant.event_is(event, sent=1)
    life = await pool.fetchval(_LIFE, event)
    assert abs(life - timedelta(minutes=10)) < timedelta(seconds=5)


async def _tokens_are_good_at_both(platform: Platform, tenant: Tenant) -> None:
    urls = [platform.url_of("api"), platform.url_of("api-2")]
    key = {"Authorization": f"Bearer {tenant.key}"}
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as http:
        for minter in urls:
            made = await http.post(f"{minter}/v1/subscribers/anna/tokens", headers=key, json={})
            person = {"Authorization": f"Bearer {made.json()['token']}"}
            for url in urls:
                reply = await http.get(f"{url}/v1/inbox", headers=person)
                assert reply.status_code == 200, reply.text
