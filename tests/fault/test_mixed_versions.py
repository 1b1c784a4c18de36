"""Messages and services of the version before and the version after, beside today's (F35).

The real run takes an earlier commit out of the history, so it needs one and is among the extended tests. In
every run, each message comes as an older writer would have made it (without the optional fields) and as a
newer one may (with fields that nobody here knows), between real processes.
"""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from carillon_shared.contracts.messages import MESSAGE_TYPES, LiveSignal
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import LIVE, dead_queue, dispatch_queue, fanout_queue, work_queue
from support.earlier import running_earlier, unpack_earlier
from support.event_stream import open_stream
from support.faults.drained import queue_depths
from support.faults.invariants import check
from support.faults.posting import post
from support.faults.traffic import prepare_traffic, traffic
from support.hand_made import HandMade, Raw, hand_made
from support.platform import Platform

pytestmark = pytest.mark.timeout(300)

Rewrite = Callable[[str, dict[str, Any]], dict[str, Any]]
DEAD_QUEUES = [dead_queue(channel) for channel in Channel]


def _older(message_type: str, body: dict[str, Any]) -> dict[str, Any]:
    """Leave out whatever a reader can do without."""
    fields = MESSAGE_TYPES[message_type].model_fields
    return {name: value for name, value in body.items() if fields[name].is_required()}


def _newer(_message_type: str, body: dict[str, Any]) -> dict[str, Any]:
    """Add what nobody knows yet."""
    return {"hint": {"of": ["the", "future"]}, **body, "shard": 7, "because": None}


VERSIONS = [pytest.param(_older, id="older"), pytest.param(_newer, id="newer")]


@pytest.fixture
async def broker(shared_ground: Platform) -> AsyncIterator[HandMade]:
    async with hand_made(shared_ground.addresses.broker_url) as made:
        yield made


async def _rewrite(broker: HandMade, queues: list[str], rewrite: Rewrite) -> int:
    """Put every message of these queues back as another version would have written it."""
    many = 0
    for queue in queues:
        for message in await broker.drain(queue):
            assert message is not None
            body = rewrite(message.TYPE, message.model_dump(mode="json"))
            await broker.put(queue, Raw(json.dumps(body).encode(), message.TYPE, f"rewritten-{many}"))
            many += 1
    return many


async def _nothing_dead(platform: Platform) -> None:
    depths = await queue_depths(platform.addresses.broker_url, DEAD_QUEUES)
    assert set(depths.values()) == {0}, depths
    pool = await platform.database.pool(max_size=1)
    assert await pool.fetchval("SELECT count(*) FROM carillon.poison_messages") == 0
    await pool.close()


@pytest.mark.parametrize("rewrite", VERSIONS)
async def test_accepted_events_of_another_version_are_planned(
    shared_ground: Platform, broker: HandMade, rewrite: Rewrite
) -> None:
    await shared_ground.stop("dispatcher")
    async with traffic(shared_ground, limit=15) as flow:
        await flow.accepted(15)
    assert await _rewrite(broker, [dispatch_queue(lane) for lane in Lane], rewrite) >= 10
    await shared_ground.start("dispatcher")
    (await check(shared_ground, flow.ledger)).assert_clean()
    await _nothing_dead(shared_ground)


@pytest.mark.parametrize("rewrite", VERSIONS)
async def test_ranges_of_another_version_are_planned(
    shared_ground: Platform, broker: HandMade, rewrite: Rewrite
) -> None:
    flow = await prepare_traffic(shared_ground, people=60)
    usual = dict(shared_ground.extra["dispatcher"])
    small = {"CARILLON_DISPATCHER_RANGE_SIZE": "5"}
    shared_ground.extra["dispatcher"] = usual | small | {"CARILLON_CRASH_AT": "dispatcher.mid_range"}
    await shared_ground.restart("dispatcher")
    await post(
        flow.ledger, "news.published", channels=["inapp"], people=flow.people, audience={"everyone": True}
    )
    assert await shared_ground.ended("dispatcher") == -9
    await broker.channel.close()
    async with hand_made(shared_ground.addresses.broker_url) as again:
        assert await _rewrite(again, [fanout_queue(lane) for lane in Lane], rewrite) >= 3
    shared_ground.extra["dispatcher"] = usual | small
    await shared_ground.start("dispatcher")
    (await check(shared_ground, flow.ledger)).assert_clean()
    await _nothing_dead(shared_ground)
    shared_ground.extra["dispatcher"] = usual
    await shared_ground.restart("dispatcher")


@pytest.mark.parametrize("rewrite", VERSIONS)
async def test_work_of_another_version_is_done(
    shared_ground: Platform, broker: HandMade, rewrite: Rewrite
) -> None:
    workers = [f"{channel}-worker" for channel in Channel]
    await shared_ground.stop(*workers)
    flow = await prepare_traffic(shared_ground)
    for lane in Lane:
        event = await post(
            flow.ledger, "order.changed", channels=list(Channel), people=flow.people[:2], priority=lane
        )
        await flow.tenant.event_is(str(event), queued=6)
    queues = [work_queue(channel, lane) for channel in Channel for lane in Lane]
    assert await _rewrite(broker, queues, rewrite) == len(queues)
    await shared_ground.start(*workers)
    (await check(shared_ground, flow.ledger)).assert_clean()
    await _nothing_dead(shared_ground)


@pytest.mark.parametrize("rewrite", VERSIONS)
async def test_live_messages_of_another_version_are_shown(
    shared_ground: Platform, broker: HandMade, rewrite: Rewrite
) -> None:
    flow = await prepare_traffic(shared_ground)
    token = await flow.tenant.token(flow.people[0])
    signal = LiveSignal(tenant=flow.tenant.slug, users=[flow.people[0]], name="progress", data={"percent": 7})
    # A signal without its optional fields is for nobody.
    body = signal.model_dump(mode="json")
    body = body if rewrite is _older else rewrite(LiveSignal.TYPE, body)
    async with open_stream(shared_ground.api_url, token) as stream:
        await stream.next("ready")
        await broker.put_to(LIVE.name, "", Raw(json.dumps(body).encode(), LiveSignal.TYPE))
        assert (await stream.next("signal")).data["data"] == {"percent": 7}


@pytest.mark.extended
@pytest.mark.parametrize("name", ["email-worker", "dispatcher"])
async def test_an_earlier_service_beside_todays(shared_ground: Platform, tmp_path: Path, name: str) -> None:
    earlier = unpack_earlier(name, tmp_path)
    async with running_earlier(shared_ground, name, earlier) as process:
        async with traffic(shared_ground) as flow:
            await flow.accepted(40)
        (await check(shared_ground, flow.ledger)).assert_clean()
        assert process.returncode is None
    await _nothing_dead(shared_ground)
