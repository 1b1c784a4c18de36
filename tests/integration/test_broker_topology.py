import asyncio
import json
import time
from typing import Any
from uuid import UUID

import pytest
from carillon_shared.broker import BrokerSession, DifferentError, Outgoing, check, declare
from carillon_shared.broker.__main__ import main
from carillon_shared.contracts.messages import EventAccepted, WorkChunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology import carillon
from carillon_shared.topology.ladder import LADDER
from carillon_shared.topology.model import Queue, Topology
from pamqp.common import FieldTable
from support.broker_queues import depth, fetch, plain_channel
from support.services import RabbitmqService
from support.waiting import eventually

TOPOLOGY = carillon.carillon_topology()
CHUNK = WorkChunk(
    event_id=UUID(int=1),
    tenant="acme",
    channel=Channel.EMAIL,
    lane=Lane.NORMAL,
    attempt=2,
    delivery_ids=[UUID(int=2)],
)


@pytest.fixture
async def declared(broker_url: str) -> str:
    """URL of a virtual host with the whole topology."""
    await declare(broker_url)
    return broker_url


def _read(rabbitmq: RabbitmqService, url: str, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(rabbitmq.manage("GET", f"/api/{what}/{url.rpartition('/')[2]}"))
    return found


async def test_the_broker_has_what_the_data_says(rabbitmq: RabbitmqService, declared: str) -> None:
    queues = {queue["name"]: queue for queue in _read(rabbitmq, declared, "queues")}
    exchanges = {exchange["name"]: exchange["type"] for exchange in _read(rabbitmq, declared, "exchanges")}
    bindings = {
        (binding["source"], binding["destination"], binding["routing_key"])
        for binding in _read(rabbitmq, declared, "bindings")
        if binding["source"]
    }
    assert {name: queue["arguments"] for name, queue in queues.items()} == {
        queue.name: dict(queue.arguments) for queue in TOPOLOGY.queues
    }
    assert all(queue["durable"] and queue["type"] == "quorum" for queue in queues.values())
    for exchange in TOPOLOGY.exchanges:
        assert exchanges[exchange.name] == exchange.type
    assert bindings == {
        (binding.exchange, binding.queue, binding.routing_key) for binding in TOPOLOGY.bindings
    }


async def test_whatever_a_working_queue_gives_up_is_dead_lettered(
    rabbitmq: RabbitmqService, declared: str
) -> None:
    queues = {queue["name"]: queue["arguments"] for queue in _read(rabbitmq, declared, "queues")}
    working = [
        *(carillon.dispatch_queue(lane) for lane in Lane),
        *(carillon.fanout_queue(lane) for lane in Lane),
        *(carillon.work_queue(channel, lane) for channel in Channel for lane in Lane),
    ]
    for name in working:
        assert queues[name]["x-dead-letter-exchange"] == "carillon.dead"
        assert queues[name]["x-dead-letter-strategy"] == "at-least-once"
        assert queues[name]["x-overflow"] == "reject-publish"


async def test_declaring_again_changes_nothing(declared: str, rabbitmq: RabbitmqService) -> None:
    await declare(declared)
    assert await check(declared, management_url=rabbitmq.management_url) == []


async def test_a_queue_that_differs_is_refused(declared: str) -> None:
    changed = Topology((), (Queue("carillon.email.bulk", {"x-queue-type": "quorum"}),), ())
    with pytest.raises(DifferentError, match="inequivalent arg"):
        await declare(declared, topology=changed)


async def test_a_message_comes_back_from_the_ladder_with_its_key(declared: str) -> None:
    tier = LADDER[0]
    async with BrokerSession(declared, name="test") as session:
        await session.publisher.wait_connected()
        key = carillon.work_routing_key(Channel.EMAIL, Lane.NORMAL)
        left_at = time.monotonic()
        await session.publisher.publish(Outgoing(carillon.retry_exchange(tier), key, CHUNK, "m-1"))
        subscription = session.subscribe(carillon.work_queue(Channel.EMAIL, Lane.NORMAL), prefetch=1)
        async with asyncio.timeout(15):
            (incoming,) = await subscription.take(1)
        waited = time.monotonic() - left_at
        assert incoming.routing_key == key
        assert incoming.message_id == "m-1"
        assert waited > tier.seconds * 0.9
        await subscription.ack(incoming)


@pytest.mark.parametrize(
    ("queue", "exchange", "key", "dead"),
    [
        ("carillon.email.normal", "carillon.work", "email.normal", "carillon.email.dead"),
        ("carillon.dispatch.bulk", "carillon.events", "bulk.acme.message", "carillon.dispatch.dead"),
        ("carillon.fanout.bulk", "carillon.fanout", "bulk", "carillon.dispatch.dead"),
    ],
)
async def test_a_rejected_message_is_in_the_dead_queue(
    declared: str, queue: str, exchange: str, key: str, dead: str
) -> None:
    async with BrokerSession(declared, name="test") as session:
        await session.publisher.wait_connected()
        await session.publisher.publish(Outgoing(exchange, key, CHUNK, "m-1"))
        subscription = session.subscribe(queue, prefetch=1)
        async with asyncio.timeout(10):
            (incoming,) = await subscription.take(1)
        await subscription.reject(incoming, requeue=False)

        async def dead_lettered() -> bool:
            return await depth(declared, dead) == 1

        await eventually(dead_lettered, seconds=15, what=f"the message in {dead}")
        message = await fetch(declared, dead)
    assert message is not None
    assert message.message_id == "m-1"


async def test_every_event_reaches_the_queue_of_its_lane(declared: str) -> None:
    async with BrokerSession(declared, name="test") as session:
        await session.publisher.wait_connected()
        for lane in Lane:
            event = EventAccepted(event_id=UUID(int=1), tenant="acme", event_type="a.b.c", lane=lane)
            key = carillon.event_routing_key(lane=lane, tenant="acme", event_type="a.b.c")
            await session.publisher.publish(Outgoing(carillon.EVENTS.name, key, event, "m"))
    assert [await depth(declared, carillon.dispatch_queue(lane)) for lane in Lane] == [1, 1, 1]


async def test_check_finds_a_dropped_binding_and_a_foreign_one(
    declared: str, rabbitmq: RabbitmqService
) -> None:
    async with plain_channel(declared) as channel:
        queue = await channel.get_queue("carillon.email.bulk", ensure=False)
        await queue.unbind("carillon.work", "email.bulk")
        await queue.bind("carillon.work", "#")
    drifts = await check(declared, management_url=rabbitmq.management_url)
    assert [(drift.kind, drift.what) for drift in drifts] == [
        ("missing", "binding 'carillon.work' -> 'carillon.email.bulk' (key 'email.bulk')"),
        ("unexpected", "binding 'carillon.work' -> 'carillon.email.bulk' (key '#')"),
    ]
    assert "to mend it, run `carillon topology declare`." in str(drifts[0])


async def test_check_finds_a_queue_with_other_arguments_and_does_not_touch_it(
    declared: str, rabbitmq: RabbitmqService
) -> None:
    other: FieldTable = {"x-queue-type": "quorum", "x-delivery-limit": 5}
    async with plain_channel(declared) as channel:
        await channel.queue_delete("carillon.email.dead")
        await channel.declare_queue("carillon.email.dead", durable=True, arguments=other)
        await channel.queue_delete("carillon.inapp.dead")
        await channel.exchange_delete("carillon.outcomes")
    drifts = await check(declared, management_url=rabbitmq.management_url)
    found = {drift.what: drift for drift in drifts if "binding" not in drift.what}
    assert {what: drift.kind for what, drift in found.items()} == {
        "exchange 'carillon.outcomes'": "missing",
        "queue 'carillon.email.dead'": "different",
        "queue 'carillon.inapp.dead'": "missing",
    }
    assert "x-delivery-limit" in found["queue 'carillon.email.dead'"].detail
    queues = {queue["name"]: queue["arguments"] for queue in _read(rabbitmq, declared, "queues")}
    assert queues["carillon.email.dead"] == other
    assert "carillon.inapp.dead" not in queues


async def test_check_finds_an_exchange_of_another_type(declared: str, rabbitmq: RabbitmqService) -> None:
    async with plain_channel(declared) as channel:
        await channel.exchange_delete("carillon.outcomes")
        await channel.declare_exchange("carillon.outcomes", "fanout", durable=True)
    (drift,) = await check(declared, management_url=rabbitmq.management_url)
    assert (drift.kind, drift.what) == ("different", "exchange 'carillon.outcomes'")
    assert "inequivalent arg 'type'" in drift.detail


async def test_without_the_management_api_bindings_are_made_again(
    declared: str, rabbitmq: RabbitmqService, unused_tcp_port: int
) -> None:
    async with plain_channel(declared) as channel:
        queue = await channel.get_queue("carillon.email.bulk", ensure=False)
        await queue.unbind("carillon.work", "email.bulk")
    assert await check(declared, management_url=f"http://127.0.0.1:{unused_tcp_port}") == []
    assert await check(declared, management_url=rabbitmq.management_url) == []


async def test_the_command_declares_and_checks(
    broker_url: str, rabbitmq: RabbitmqService, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("CARILLON_BROKER_URL", broker_url)
    monkeypatch.setenv("CARILLON_BROKER_MANAGEMENT_URL", rabbitmq.management_url)
    assert await asyncio.to_thread(main, ["check"]) == 1
    assert await asyncio.to_thread(main, ["declare"]) == 0
    assert await asyncio.to_thread(main, ["check"]) == 0
    monkeypatch.setenv("CARILLON_BROKER_URL", f"amqp://127.0.0.1:{unused_tcp_port}/")
    assert await asyncio.to_thread(main, ["check", "--wait", "0.1"]) == 3
    monkeypatch.delenv("CARILLON_BROKER_URL")
    with pytest.raises(SystemExit, match="2"):
        main(["check"])
