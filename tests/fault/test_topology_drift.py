"""Queues, exchanges and bindings are missing, different, or answer nothing (F09, F14, F15, F36)."""

import asyncio
from typing import cast

import pytest
from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker import check as check_topology
from carillon_shared.broker import declare
from carillon_shared.broker.drift import Drift
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import (
    DEAD,
    DISPATCH_DEAD_QUEUE,
    EVENTS,
    WORK,
    carillon_topology,
    dead_queue,
    dispatch_queue,
    retry_exchange,
    work_queue,
    work_routing_key,
)
from carillon_shared.topology.ladder import LADDER
from pamqp.common import FieldTable
from support.broker_queues import plain_channel
from support.faults.broker_ground import BrokerGround, control
from support.faults.health_pages import metric, readiness, says
from support.faults.invariants import check
from support.faults.provider_faults import rules
from support.faults.retries import retries_wait
from support.faults.traffic import traffic
from support.hand_made import Raw, hand_made
from support.platform import Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)
# About their recipients, so the breaker does not open and all of them wait on the ladder.
_RETRY = {"fault": "retry", "channel": "smtp", "code": 450}
_UNREADABLE = b"}{ nobody can read this"
_EMAIL = work_queue(Channel.EMAIL, Lane.NORMAL)
_RETURNED = 'carillon_publish_messages_total{result="returned"}'
_EMAIL_KEY = work_routing_key(Channel.EMAIL, Lane.NORMAL)


async def test_a_queue_deleted_with_messages_is_named_and_used_again_once_declared(
    broker_ground: BrokerGround,
) -> None:
    """What it held is missed by the sweepers and sent again."""
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    async with traffic(platform) as flow:
        await flow.accepted(20)
        await platform.pause("email-worker")
        await flow.accepted(20)
        async with plain_channel(url) as channel:
            await channel.queue_delete(_EMAIL)
        platform.resume("email-worker")
        await says(platform, "email-worker", "broker", "not consuming", _EMAIL)
        await says(platform, "email-worker", "topology", _EMAIL, "does not exist")
        await declare(url)
        await says(platform, "email-worker", "topology", "ok")
        await says(platform, "email-worker", "broker", "ok")
        await flow.accepted(10)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


@pytest.mark.extended
async def test_a_lost_dispatch_queue_loses_no_event(broker_ground: BrokerGround) -> None:
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    async with traffic(platform) as flow:
        await flow.accepted(20)
        await platform.pause("dispatcher")
        await flow.accepted(20)
        async with plain_channel(url) as channel:
            await channel.queue_delete(dispatch_queue(Lane.NORMAL))
        platform.resume("dispatcher")
        await says(platform, "dispatcher", "topology", dispatch_queue(Lane.NORMAL), "does not exist")
        await declare(url)
        await flow.accepted(10)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


@pytest.mark.extended
@pytest.mark.parametrize("exchange", [EVENTS.name, WORK.name])
async def test_what_no_binding_takes_stays_owed_until_it_is_bound_again(
    broker_ground: BrokerGround, exchange: str
) -> None:
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    ways = {
        EVENTS.name: (dispatch_queue(Lane.NORMAL), f"{Lane.NORMAL}.#"),
        WORK.name: (_EMAIL, _EMAIL_KEY),
    }
    queue, key = ways[exchange]
    async with plain_channel(url) as channel:
        await (await channel.get_queue(queue)).unbind(exchange, key)
    async with traffic(platform) as flow:
        await flow.accepted(30)

        async def told() -> bool:
            return await metric(platform, "dispatcher", _RETURNED) > 0

        await eventually(told, seconds=60, what="the metric to tell of returned publishes")
        await declare(url)
        await flow.accepted(10)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


@pytest.mark.extended
@pytest.mark.parametrize("exchange", [EVENTS.name, WORK.name])
async def test_what_an_exchange_that_is_gone_does_not_take_stays_owed(
    broker_ground: BrokerGround, exchange: str
) -> None:
    """A publish to it closes the channel."""
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    async with traffic(platform) as flow:
        await flow.accepted(10)
        async with plain_channel(url) as channel:
            await channel.exchange_delete(exchange)
        await says(platform, "dispatcher", "topology", exchange, "does not exist")
        await flow.accepted(20)
        await declare(url)
        await says(platform, "dispatcher", "topology", "ok")
        await flow.accepted(10)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


async def test_a_queue_with_other_arguments_is_named_and_the_others_work_on(
    broker_ground: BrokerGround,
) -> None:
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    queue = work_queue(Channel.WHATSAPP, Lane.BULK)
    await _redeclare(url, queue, {"x-delivery-limit": 5})
    await says(platform, "whatsapp-worker", "topology", queue, "is not as declared", "inequivalent arg")
    assert (await readiness(platform, "email-worker"))["topology"] == "ok"
    worker = platform.processes["whatsapp-worker"]
    async with traffic(platform) as flow:
        await flow.accepted(20)
        async with plain_channel(url) as channel:
            await channel.queue_delete(queue)
        await declare(url)
        await says(platform, "whatsapp-worker", "topology", "ok")
        await flow.accepted(10)
    (await check(platform, flow.ledger)).assert_clean()
    assert worker is platform.processes["whatsapp-worker"]
    assert worker.returncode is None


@pytest.mark.extended
async def test_retries_that_come_back_nowhere_are_named_and_sent_anew(broker_ground: BrokerGround) -> None:
    """The rungs name an exchange that is not there: what waits on them stays, and goes with the queues."""
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    rungs = [retry_exchange(tier) for tier in LADDER[:2]]  # where the traffic's retries of 2 s wait
    for rung in rungs:
        await _redeclare(url, rung, {"x-dead-letter-exchange": "carillon.elsewhere"})
        await _bind_as_declared(url, rung)
    await says(platform, "email-worker", "topology", rungs[0], "x-dead-letter-exchange", "carillon.elsewhere")
    async with traffic(platform) as flow:
        async with rules(platform, _RETRY | {"times": 10}):
            await flow.accepted(40)
            await retries_wait(platform, flow.tenant, least=5, overdue=2)
            await _held(broker_ground, rungs, least=5)
        async with plain_channel(url) as channel:
            for rung in rungs:
                await channel.queue_delete(rung)
        await declare(url)
        await says(platform, "email-worker", "topology", "ok")
        await flow.accepted(10)
    # A retry is taken for lost a minute and two rungs after its time.
    report = await check(platform, flow.ledger, seconds=150)
    assert report.broken() <= {"I5"}, report


async def test_retries_whose_way_back_is_missing_wait_on_their_rung(broker_ground: BrokerGround) -> None:
    """And return as soon as it is there: nobody has to miss them first, which takes more than a minute."""
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    async with hand_made(url) as broker:
        async with (
            traffic(platform) as flow,
            rules(platform, _RETRY),
        ):
            await flow.accepted(30)
            await retries_wait(platform, flow.tenant, least=10)
            for lane in Lane:
                queue = await broker.channel.get_queue(work_queue(Channel.EMAIL, lane), ensure=False)
                await queue.unbind(WORK.name, work_routing_key(Channel.EMAIL, lane))
        await retries_wait(platform, flow.tenant, least=5, overdue=2)
        await _held(broker_ground, [retry_exchange(tier) for tier in LADDER[:2]], least=5)
    await declare(url)
    (await check(platform, flow.ledger, seconds=45)).assert_clean()


async def test_what_is_given_up_waits_for_a_missing_dead_letter_exchange(broker_ground: BrokerGround) -> None:
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    dead = dead_queue(Channel.EMAIL)
    async with hand_made(url) as broker, traffic(platform) as flow:
        await broker.drain(dead)
        await broker.channel.exchange_delete(DEAD.name)
        await says(platform, "email-worker", "topology", DEAD.name, "does not exist")
        await broker.put(_EMAIL, Raw(_UNREADABLE, WorkChunk.TYPE))
        await _kept_as_poison(platform)
        await flow.accepted(20)
        await declare(url)

        async def arrived() -> bool:
            return await broker.depth(dead) == 1

        await eventually(arrived, seconds=60, what="the dead letter to arrive")
        await broker.drain(dead)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


async def _kept_as_poison(platform: Platform) -> None:
    pool = await platform.database.pool(max_size=1)

    async def look() -> bool:
        found = "SELECT EXISTS (SELECT FROM carillon.poison_messages WHERE body = $1)"
        return bool(await pool.fetchval(found, _UNREADABLE))

    await eventually(look, seconds=30, what="the message to be kept as poison")
    await pool.close()


@pytest.mark.extended
async def test_a_missing_dead_queue_makes_its_worker_unready(broker_ground: BrokerGround) -> None:
    platform, url = broker_ground.platform, broker_ground.rabbitmq.amqp_url
    async with plain_channel(url) as channel:
        await channel.queue_delete(dead_queue(Channel.EMAIL))
    await says(platform, "email-worker", "topology", dead_queue(Channel.EMAIL), "does not exist")
    await declare(url)
    await says(platform, "email-worker", "topology", "ok")


async def test_a_queue_without_a_leader_is_found_and_mended(own_rabbitmq: RabbitmqServer) -> None:
    """As a broker leaves it behind that is killed too soon after the declaration."""
    await declare(own_rabbitmq.amqp_url)
    stop = f"ra:stop_server(quorum_queues, {{'%2F_{DISPATCH_DEAD_QUEUE}', node()}})."
    await asyncio.to_thread(control, own_rabbitmq, "eval", stop)
    (silent,) = await _drifts(own_rabbitmq)
    assert (silent.kind, silent.what) == ("silent", f"queue {DISPATCH_DEAD_QUEUE!r}")
    await _renew(own_rabbitmq, [silent])
    assert await _drifts(own_rabbitmq) == []


@pytest.mark.extended
async def test_whatever_a_kill_right_after_the_declaration_took_is_found(
    own_rabbitmq: RabbitmqServer,
) -> None:
    await declare(own_rabbitmq.amqp_url)
    await asyncio.to_thread(own_rabbitmq.kill)
    await asyncio.to_thread(own_rabbitmq.start)
    lost = await _drifts(own_rabbitmq)
    assert {drift.kind for drift in lost} <= {"silent", "missing"}
    await _renew(own_rabbitmq, lost)
    assert await _drifts(own_rabbitmq) == []


async def _held(ground: BrokerGround, queues: list[str], *, least: int) -> None:
    async def look() -> bool:
        return sum([await ground.held(queue) for queue in queues]) >= least

    await eventually(look, seconds=30, what=f"{least} messages to be kept in {queues}")


async def _drifts(server: RabbitmqServer) -> list[Drift]:
    return await check_topology(server.amqp_url, management_url=server.management_url)


async def _renew(server: RabbitmqServer, drifts: list[Drift]) -> None:
    async with plain_channel(server.amqp_url) as channel:
        for drift in drifts:
            if drift.kind == "silent":
                await channel.queue_delete(drift.what.removeprefix("queue ").strip("'"))
    await declare(server.amqp_url)


async def _redeclare(url: str, name: str, changed: dict[str, str | int]) -> None:
    """Put a queue with other arguments in a queue's place, with no binding."""
    (queue,) = [queue for queue in carillon_topology().queues if queue.name == name]
    async with plain_channel(url) as channel:
        await channel.queue_delete(name)
        arguments = cast("FieldTable", {**queue.arguments, **changed})
        await channel.declare_queue(name, durable=True, arguments=arguments)


async def _bind_as_declared(url: str, name: str) -> None:
    async with plain_channel(url) as channel:
        queue = await channel.get_queue(name, ensure=False)
        for binding in carillon_topology().bindings:
            if binding.queue == name:
                await queue.bind(binding.exchange, binding.routing_key)
