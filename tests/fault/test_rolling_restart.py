"""Every service restarted one replica after the other, under traffic: nobody notices (F06)."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from support.faults.balancer import Balancer
from support.faults.drained import queue_depths
from support.faults.invariants import check
from support.faults.listener import listening
from support.faults.traffic import prepare_traffic
from support.platform import Platform
from support.tenant import Tenant

pytestmark = [pytest.mark.timeout(600), pytest.mark.extended]

SERVICES = ("api", "dispatcher", "email-worker", "whatsapp-worker", "inapp-worker")


@pytest.fixture
async def doubled(shared_ground: Platform) -> AsyncIterator[Platform]:
    """Two replicas of every service."""
    await shared_ground.start(*(f"{name}-2" for name in SERVICES))
    yield shared_ground
    await shared_ground.stop(*(f"{name}-2" for name in SERVICES))


def _through(balancer: Balancer, tenant: Tenant) -> None:
    """Let what the tenant calls go to any replica."""
    tenant.http = httpx2.AsyncClient(
        transport=balancer,
        base_url=tenant.http.base_url,
        headers={"Authorization": f"Bearer {tenant.key}"},
        timeout=30,
    )


async def _dead_messages(platform: Platform) -> int:
    queues = [f"carillon.{name}.dead" for name in ("dispatch", "email", "whatsapp", "inapp")]
    return sum((await queue_depths(platform.addresses.broker_url, queues)).values())


async def test_no_request_fails_and_nothing_is_lost(doubled: Platform) -> None:
    balancer = Balancer([doubled.url_of("api"), doubled.url_of("api-2")])
    flow = await prepare_traffic(doubled, rate=15)
    _through(balancer, flow.tenant)
    async with listening(doubled, flow.tenant, flow.people[:3]) as listeners:
        flow.start()
        await flow.accepted(20)
        for name in SERVICES:
            for replica in (name, f"{name}-2"):
                assert await doubled.stopped(replica) == 0
                await doubled.start(replica)
            await flow.accepted(5)
        await flow.stop()
        report = await check(doubled, flow.ledger, listeners=listeners)
        await flow.tenant.http.aclose()
    report.assert_clean()
    assert not {status for status in balancer.statuses if status >= 500}, balancer.statuses
    assert flow.ledger.postponed == 0
    assert await _dead_messages(doubled) == 0
