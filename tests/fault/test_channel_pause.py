"""A channel is paused under traffic, through the death of its worker, and resumed."""

import asyncio

import httpx2
import pytest
from carillon_shared.credentials import hash_secret, make_api_key
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

WHY = {"reason": "the relay is being moved"}
LOOK_SECONDS = 3.0


async def _switch(platform: Platform, tenant: Tenant, channel: str, verb: str) -> None:
    """Do what the owner of the platform does, with a key made for it."""
    key = make_api_key()
    pool = await platform.database.pool(max_size=1)
    await pool.execute(
        "INSERT INTO carillon.api_keys (id, tenant_id, secret_hash, scopes) VALUES ($1, $2, $3, '{admin}')",
        key.id,
        tenant.id,
        hash_secret(key.secret, pepper=platform.pepper.encode()),
    )
    await pool.close()
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        url = f"{platform.api_url}/v1/admin/channels/{channel}:{verb}"
        reply = await http.post(url, json=WHY, headers={"Authorization": f"Bearer {key}"})
    assert reply.status_code == 200, reply.text


async def _attempts(platform: Platform, channel: str) -> int:
    pool = await platform.database.pool(max_size=1)
    many = await pool.fetchval(
        "SELECT count(*) FROM carillon.deliveries WHERE channel = $1::text::carillon.channel AND attempt > 0",
        channel,
    )
    await pool.close()
    return int(many)


async def _stands_still(platform: Platform, worker: str, channel: str) -> int:
    """Wait until the worker knows of the pause and its open calls have ended; return the attempts made."""

    async def told() -> bool:
        async with httpx2.AsyncClient(trust_env=False) as http:
            shown = (await http.get(f"{platform.url_of(worker)}/metrics", timeout=5)).text
        return f'carillon_channel_paused{{channel="{channel}"}} 1.0' in shown

    await eventually(told, seconds=30, what="the worker to know of the pause")
    await asyncio.sleep(LOOK_SECONDS)  # the open calls end within their time limit of two seconds
    return await _attempts(platform, channel)


@pytest.mark.parametrize(("channel", "worker"), [("email", "email-worker"), ("inapp", "inapp-worker")])
async def test_a_pause_holds_through_a_kill_and_everything_is_delivered_once_after_it(
    shared_ground: Platform, channel: str, worker: str
) -> None:
    async with traffic(shared_ground) as flow:
        await flow.accepted(20)
        await _switch(shared_ground, flow.tenant, channel, "pause")
        try:
            before = await _stands_still(shared_ground, worker, channel)
            await flow.accepted(30)
            await shared_ground.kill(worker)
            await flow.accepted(10)
            await shared_ground.start(worker)
            after = await _stands_still(shared_ground, worker, channel)
        finally:
            await _switch(shared_ground, flow.tenant, channel, "resume")
        assert after == before
    (await check(shared_ground, flow.ledger)).assert_clean()
    assert await _attempts(shared_ground, channel) > after
