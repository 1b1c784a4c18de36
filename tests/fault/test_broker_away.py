"""The broker is stopped, killed, frozen or short of room while events arrive (F07, F08, F10, F13)."""

import asyncio

import pytest
from support.faults.broker_ground import BrokerGround
from support.faults.health_pages import shows
from support.faults.invariants import check
from support.faults.provider_faults import rules
from support.faults.retries import retries_wait
from support.faults.traffic import traffic

pytestmark = pytest.mark.timeout(300)

_ALARMS = {
    "memory": (
        ("set_vm_memory_high_watermark", "0.000001"),
        ("set_vm_memory_high_watermark", "absolute", "1GB"),
    ),
    "disk": (("set_disk_free_limit", "1000000GB"), ("set_disk_free_limit", "50MB")),
}
_LONG = pytest.mark.extended


async def test_all_are_accepted_and_delivered_after_it_returns(broker_ground: BrokerGround) -> None:
    before = await broker_ground.connections()
    async with traffic(broker_ground.platform) as flow:
        await flow.accepted(20)
        await asyncio.to_thread(broker_ground.rabbitmq.stop)
        await flow.accepted(20)
        readiness = await flow.tenant.http.get("/readyz", params={"verbose": ""})
        assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded")
        await asyncio.to_thread(broker_ground.rabbitmq.start)
        await flow.accepted(10)
    (await check(broker_ground.platform, flow.ledger)).assert_clean()
    assert flow.ledger.postponed == 0
    await broker_ground.connections_are(before)


@pytest.mark.extended
async def test_a_minute_away_loses_no_retry_that_waits(broker_ground: BrokerGround) -> None:
    """Longer than the rungs of the ladder that the traffic's retries wait on."""
    async with traffic(broker_ground.platform) as flow:
        async with rules(broker_ground.platform, {"fault": "retry", "channel": "smtp", "code": 450}):
            await retries_wait(broker_ground.platform, flow.tenant, least=10)
            await asyncio.to_thread(broker_ground.rabbitmq.stop)
        await asyncio.sleep(60)  # the fault itself: it lasts so long
        await flow.accepted(10)
        await asyncio.to_thread(broker_ground.rabbitmq.start)
        await flow.accepted(10)
    (await check(broker_ground.platform, flow.ledger, seconds=120)).assert_clean()
    assert flow.ledger.postponed == 0


async def test_a_kill_loses_nothing_that_was_accepted(broker_ground: BrokerGround) -> None:
    async with traffic(broker_ground.platform, rate=30) as flow:
        await flow.accepted(40)
        await broker_ground.killed_and_started()
        await flow.accepted(40)
    (await check(broker_ground.platform, flow.ledger)).assert_clean()


@pytest.mark.extended
async def test_two_kills_in_a_row_lose_nothing_either(broker_ground: BrokerGround) -> None:
    async with traffic(broker_ground.platform) as flow:
        await flow.accepted(20)
        await broker_ground.killed_and_started()
        await broker_ground.killed_and_started()
        await flow.accepted(20)
    (await check(broker_ground.platform, flow.ledger)).assert_clean()


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=_LONG)])
async def test_no_task_dies_of_a_broker_that_stands_still(broker_ground: BrokerGround, seconds: int) -> None:
    async with traffic(broker_ground.platform) as flow:
        await flow.accepted(20)
        broker_ground.rabbitmq.pause()
        try:
            await asyncio.sleep(seconds)  # the fault itself: it lasts so long
            await flow.accepted(20)
        finally:
            broker_ground.rabbitmq.resume()
        await flow.accepted(20)
    (await check(broker_ground.platform, flow.ledger, seconds=120)).assert_clean()
    assert flow.ledger.postponed == 0


@pytest.mark.parametrize("kind", ["memory", pytest.param("disk", marks=_LONG)])
async def test_events_are_taken_and_arrive_when_an_alarm_is_over(
    broker_ground: BrokerGround, kind: str
) -> None:
    """It takes no publishes and still gives messages out."""
    on, off = _ALARMS[kind]
    async with traffic(broker_ground.platform) as flow:
        await flow.accepted(20)
        await broker_ground.control(*on)
        try:
            await flow.accepted(40)
            await shows(
                broker_ground.platform, "dispatcher", 'carillon_broker_blocked{purpose="publish"} 1.0'
            )
        finally:
            await broker_ground.control(*off)
        await flow.accepted(20)
    (await check(broker_ground.platform, flow.ledger, seconds=120)).assert_clean()
    assert flow.ledger.postponed == 0
