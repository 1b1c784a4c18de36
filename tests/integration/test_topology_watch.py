"""What a process says about its topology while it runs."""

import pytest
from carillon_shared.broker import BrokerSession, declare
from carillon_shared.broker.topology_watch import TopologyError, TopologyWatch
from carillon_shared.domain.channels import Channel
from carillon_shared.topology.model import Topology
from carillon_shared.topology.needs import needs_of_dispatcher, needs_of_worker
from support.broker_queues import DEAD_QUEUE, QUEUE, SMALL_TOPOLOGY, plain_channel
from support.waiting import eventually


async def _verdict(watch: TopologyWatch) -> str:
    try:
        await watch.probe()
    except TopologyError as error:
        return str(error)
    return "fine"


async def _says(watch: TopologyWatch, *words: str) -> None:
    async def look() -> bool:
        found = await _verdict(watch)
        return all(word in found for word in words)

    try:
        await eventually(look, seconds=30, what=f"the watch to say {words}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {await _verdict(watch)}") from None


async def test_what_is_missing_is_named_until_it_is_declared(broker_url: str) -> None:
    async with BrokerSession(broker_url, name="test") as session:
        watch = session.watch(SMALL_TOPOLOGY)
        await _says(
            watch, f"queue '{QUEUE}' does not exist", "exchange 'test.work' does not exist", "declare"
        )
        await declare(broker_url, topology=SMALL_TOPOLOGY)
        await _says(watch, "fine")


async def test_the_argument_that_differs_is_named(broker_url: str) -> None:
    async with plain_channel(broker_url) as channel:
        await channel.declare_queue(DEAD_QUEUE, durable=True, arguments={"x-queue-type": "classic"})
    without = Topology(SMALL_TOPOLOGY.exchanges, SMALL_TOPOLOGY.queues[:1], SMALL_TOPOLOGY.bindings[:1])
    await declare(broker_url, topology=without)
    async with BrokerSession(broker_url, name="test") as session:
        watch = session.watch(SMALL_TOPOLOGY)
        await _says(watch, f"queue '{DEAD_QUEUE}' is not as declared", "x-queue-type")
        async with plain_channel(broker_url) as channel:
            await channel.queue_delete(DEAD_QUEUE)
        await _says(watch, f"queue '{DEAD_QUEUE}' does not exist")


async def test_a_watch_creates_nothing_and_is_not_content_before_it_has_looked(broker_url: str) -> None:
    session = BrokerSession(broker_url, name="test")
    watch = session.watch(SMALL_TOPOLOGY)
    assert "not been looked at" in await _verdict(watch)
    async with session:
        await _says(watch, "does not exist")
        await _says(watch, "does not exist")


@pytest.mark.parametrize("channel", Channel)
def test_a_worker_does_not_need_the_queues_of_other_channels(channel: Channel) -> None:
    needed = {queue.name for queue in needs_of_worker(channel).queues}
    others = {f"carillon.{other}." for other in Channel if other is not channel}
    assert not [name for name in needed if name.startswith(tuple(others))]
    assert f"carillon.{channel}.critical" in needed
    assert needed < {queue.name for queue in needs_of_dispatcher().queues}
