"""The broker closes connections and channels, for whatever reason it has (F12, F14, F28)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from carillon_shared.broker import BrokerSession
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import work_queue
from support.faults.broker_ground import BrokerGround
from support.faults.health_pages import metric, says
from support.faults.invariants import check
from support.faults.provider_faults import rules
from support.faults.traffic import traffic
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)
_LONG = pytest.mark.extended
_WHOLE_LOG = 10_000_000
_CROWD = 50
_SERVICES = ("api", "dispatcher", "email-worker", "inapp-worker", "whatsapp-worker")
_QUEUE = work_queue(Channel.EMAIL, Lane.NORMAL)
# Methods as RabbitMQ's own channel process takes them: it finds them wrong, and closes its channel.
_WRONG = {
    "unknown delivery tag": "{'basic.ack', 999999, false}",
    "inequivalent arg": f"{{'queue.declare', 0, <<\"{_QUEUE}\">>, false, true, false, false, false, []}}",
    "no queue": "{'queue.declare', 0, <<\"nowhere\">>, true, true, false, false, false, []}",
}
_ON_EVERY_CHANNEL = "[rabbit_channel:do(Channel, {method}) || Channel <- rabbit_channel:list()]."
_SET_PATIENCE = (
    "application:set_env(rabbit, consumer_timeout, {timeout}), "
    "application:set_env(rabbit, channel_tick_interval, {tick})."
)


@pytest.mark.parametrize(
    "reason", ["unknown delivery tag", *(pytest.param(one, marks=_LONG) for one in list(_WRONG)[1:])]
)
async def test_all_go_on_when_every_channel_is_closed(broker_ground: BrokerGround, reason: str) -> None:
    """Those that publish and those that consume."""
    platform = broker_ground.platform
    connects = 'carillon_broker_connects_total{purpose="publish"}'
    async with traffic(platform) as flow:
        await flow.accepted(20)
        before = await metric(platform, "dispatcher", connects)
        ended = await broker_ground.control("eval", _ON_EVERY_CHANNEL.format(method=_WRONG[reason]))
        assert ended.count("ok") > len(_SERVICES)
        await flow.accepted(20)
        for name in _SERVICES:
            await says(platform, name, "broker", "ok")
    (await check(platform, flow.ledger)).assert_clean()
    assert reason in platform.log_tail("email-worker", size=_WHOLE_LOG)
    assert await metric(platform, "dispatcher", connects) > before


@pytest.mark.extended
async def test_what_is_acknowledged_too_late_for_the_broker_is_done_once(broker_ground: BrokerGround) -> None:
    """A provider that is slow, and a broker that closes channels on which an acknowledgement is overdue."""
    platform = broker_ground.platform
    slow = {"fault": "slow", "channel": "smtp", "delay_seconds": 1.5}
    async with _impatient(broker_ground), traffic(platform, rate=10) as flow:
        async with rules(platform, slow):
            await flow.accepted(40)

            async def told() -> bool:
                return "acknowledgement" in platform.log_tail("email-worker", size=_WHOLE_LOG)

            await eventually(told, seconds=60, what="the broker to close a channel for lateness")
        await flow.accepted(10)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


@asynccontextmanager
async def _impatient(ground: BrokerGround) -> AsyncIterator[None]:
    """Let the broker wait a second for acknowledgements instead of half an hour; new channels know."""
    await ground.control("eval", _SET_PATIENCE.format(timeout=1_000, tick=300))
    await ground.close_connections()
    try:
        yield
    finally:
        await ground.control("eval", _SET_PATIENCE.format(timeout=1_800_000, tick=60_000))
        await ground.close_connections()


@pytest.mark.extended
async def test_all_return_when_every_connection_is_closed_at_once(broker_ground: BrokerGround) -> None:
    url = broker_ground.rabbitmq.amqp_url
    async with AsyncExitStack() as stack, traffic(broker_ground.platform) as flow:
        crowd = [await stack.enter_async_context(BrokerSession(url, name="crowd")) for _ in range(_CROWD)]
        for session in crowd:
            await session.publisher.wait_connected()
        await flow.accepted(10)
        assert await broker_ground.close_connections() >= _CROWD
        await flow.accepted(20)

        async def all_back() -> bool:
            return all(session.connected for session in crowd)

        await eventually(all_back, seconds=60, what="everybody to be connected again")
    (await check(broker_ground.platform, flow.ledger)).assert_clean()
