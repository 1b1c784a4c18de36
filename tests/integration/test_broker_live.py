import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiormq.exceptions import ChannelLockedResource
from carillon_shared.broker import BrokerSession, Incoming, LiveSubscription, declare, live
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import LiveSignal
from carillon_shared.topology.carillon import LIVE
from carillon_shared.topology.model import Topology
from support.broker_queues import plain_channel
from support.services import RabbitmqService
from support.waiting import eventually

_LIVE_ONLY = Topology((LIVE,), (), ())


def _signal(name: str) -> LiveSignal:
    return LiveSignal(tenant="acme", users=["u-1"], name=name, data=None)


def _name(incoming: Incoming) -> str:
    message = decode(incoming.type, incoming.body)
    assert isinstance(message, LiveSignal)
    return message.name


@asynccontextmanager
async def _listening(
    url: str, gaps: list[str], *, max_length: int = 100
) -> AsyncIterator[tuple[BrokerSession, LiveSubscription]]:
    await declare(url, topology=_LIVE_ONLY)
    async with BrokerSession(url, name="test") as session:
        subscription = session.consume_exclusive(
            LIVE.name, on_gap=lambda: gaps.append("gap"), max_length=max_length
        )
        await session.publisher.wait_connected()
        await subscription.wait_consuming()
        yield session, subscription


async def _show(session: BrokerSession, *names: str) -> None:
    assert await session.publisher.publish_many([live(_signal(name), message_id=name) for name in names]) == [
        None
    ] * len(names)


async def test_every_listener_gets_every_message(broker_url: str) -> None:
    gaps: list[str] = []
    async with (
        _listening(broker_url, gaps) as (session, one),
        _listening(broker_url, gaps) as (_, other),
    ):
        await _show(session, "typing")
        async with asyncio.timeout(10):
            assert [_name(incoming) for incoming in await one.take(10)] == ["typing"]
            assert [_name(incoming) for incoming in await other.take(10)] == ["typing"]
    assert gaps == []


async def test_nobody_needs_to_listen(broker_url: str) -> None:
    await declare(broker_url, topology=_LIVE_ONLY)
    async with BrokerSession(broker_url, name="test") as session:
        await session.publisher.wait_connected()
        await _show(session, "typing")


async def test_a_reconnect_is_a_gap_and_listening_goes_on(broker_url: str) -> None:
    gaps: list[str] = []
    async with _listening(broker_url, gaps) as (session, subscription):
        session._links["consume"].recycle("test")

        async def told() -> bool:
            return gaps == ["gap"] and subscription.ready

        await eventually(told, seconds=10, what="the gap")
        await _show(session, "after")
        async with asyncio.timeout(10):
            assert [_name(incoming) for incoming in await subscription.take(10)] == ["after"]


async def test_a_listener_that_does_not_keep_up_loses_the_oldest_and_is_told_once(broker_url: str) -> None:
    gaps: list[str] = []
    async with _listening(broker_url, gaps, max_length=5) as (session, subscription):
        await _show(session, *(str(number) for number in range(50)))

        async def newest_is_here() -> bool:
            return bool(subscription._line) and _name(subscription._line[-1]) == "49"

        await eventually(newest_is_here, seconds=10, what="the newest message")
        assert [_name(incoming) for incoming in await subscription.take(10)] == ["45", "46", "47", "48", "49"]
        assert gaps == ["gap"]


async def test_the_queue_is_bounded_private_and_gone_afterwards(
    rabbitmq: RabbitmqService, broker_url: str
) -> None:
    async with _listening(broker_url, []) as (_, subscription):
        channel = subscription._kept.channel
        assert channel is not None
        assert subscription.ready
        name = next(iter(await _queues(rabbitmq, broker_url)))
        assert name.startswith("carillon.live.")
        async with plain_channel(broker_url) as other:
            with pytest.raises(ChannelLockedResource, match="RESOURCE_LOCKED"):
                await other.declare_queue(name, passive=True)

    async def gone() -> bool:
        return not await _queues(rabbitmq, broker_url)

    await eventually(gone, seconds=10, what="the end of the queue")


async def _queues(rabbitmq: RabbitmqService, url: str) -> dict[str, dict[str, object]]:
    vhost = url.rpartition("/")[2]
    found = json.loads(await asyncio.to_thread(rabbitmq.manage, "GET", f"/api/queues/{vhost}"))
    return {queue["name"]: queue["arguments"] for queue in found}
