"""Messages that nobody can read, work for what is gone, and a delivery that kills its worker (F25)."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from carillon_shared.contracts.messages import DeadDelivery, LiveSignal, Message, WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import (
    DISPATCH_DEAD_QUEUE,
    dead_queue,
    dispatch_queue,
    fanout_queue,
    work_queue,
)
from support.audience import address_of, register_many
from support.hand_made import HandMade, Raw, chunk_of, hand_made
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

EMAIL = work_queue(Channel.EMAIL, Lane.NORMAL)
QUEUES = (
    EMAIL,
    work_queue(Channel.INAPP, Lane.NORMAL),
    work_queue(Channel.WHATSAPP, Lane.NORMAL),
    dispatch_queue(Lane.NORMAL),
    fanout_queue(Lane.NORMAL),
)
WORK = WorkChunk.TYPE
_ID = str(uuid4())
_TESTS = Path(__file__).parent.parent


def _work(**changes: Any) -> bytes:
    body = {
        "event_id": _ID,
        "tenant": "t",
        "channel": "email",
        "lane": "normal",
        "attempt": 1,
        "delivery_ids": [_ID],
    }
    return json.dumps(body | changes).encode()


UNREADABLE = {
    "no JSON": Raw(b"}{", WORK),
    "nothing at all": Raw(b"", WORK),
    "no type": Raw(_work()),
    "an unknown type": Raw(_work(), "work.parcel.v1"),
    "an unknown version": Raw(_work(), "work.chunk.v99"),
    "another shape": Raw(b'{"event_id": 7}', WORK),
    "an attempt no row can count": Raw(_work(attempt=10**9), WORK),
    "a megabyte": Raw(b'{"tenant": "' + b"x" * 1_000_000 + b'"}', WORK),
    "deep nesting": Raw(b'{"tenant":' + b"[" * 40_000 + b"]" * 40_000 + b"}", WORK),
    "NUL in the body": Raw(b'{"event_id": "\x00"}', WORK),
    "NUL in the type": Raw(_work(), "work\x00chunk", "m\x00-1"),
    "line ends in the properties": Raw(_work(), "work\r\nchunk", "m\r\n-1"),
    "a lone surrogate in the body": Raw(b'{"event_id": "\\ud800"}', WORK),
    "bytes that are no UTF-8": Raw(b"\xff\xfe" * 100, WORK),
    "a strange delivery count": Raw(b"?", WORK, headers={"x-delivery-count": "many", "traceparent": 7}),
}


@pytest.fixture(scope="module")
async def platform(shared_ground: Platform) -> Platform:
    """The dispatcher looks through the dead queues all the time, not every five minutes.

    What a worker that dies all the time does not get done is not lost: the usual patience applies to that.
    """
    shared_ground.extra["dispatcher"] |= {
        "CARILLON_DISPATCHER_DEAD_QUEUE_INTERVAL": "1",
        "CARILLON_DISPATCHER_LOST_MARGIN": "120",
    }
    await shared_ground.restart("dispatcher")
    return shared_ground


@pytest.fixture
async def broker(platform: Platform) -> AsyncIterator[HandMade]:
    async with hand_made(platform.addresses.broker_url) as made:
        yield made


@pytest.fixture
async def pool(platform: Platform) -> AsyncIterator[Pool]:
    opened = await platform.database.pool(max_size=2)
    yield opened
    await opened.close()


async def _type(tenant: Tenant, name: str, **document: Any) -> None:
    body = {"channels": ["email", "inapp"]} | document
    reply = await tenant.http.put(f"/v1/event-types/{name}", json=body)
    assert reply.is_success, reply.text
    for place, content in {
        "email/en": {"subject": "News", "text": "Read them."},
        "inapp/en": {"title": "News", "body": "Read them."},
    }.items():
        reply = await tenant.http.put(f"/v1/event-types/{name}/templates/{place}", json=content)
        assert reply.is_success, reply.text


async def _ordinary_events_arrive(platform: Platform) -> None:
    """Send mail and feed items to a few people of a new tenant; everything still runs."""
    tenant = await platform.new_tenant()
    people = await register_many(platform, tenant, 5)
    await _type(tenant, "news.published")
    event = await tenant.send(type="news.published", data={}, audience={"users": people})
    await tenant.event_is(event, sent=5, delivered=5)
    for name, process in platform.processes.items():
        assert process.returncode is None, f"{name} ended: {platform.log_tail(name)}"


@pytest.mark.parametrize("case", UNREADABLE)
async def test_what_nobody_can_read_is_kept_and_stops_nothing(
    platform: Platform, broker: HandMade, pool: Pool, case: str
) -> None:
    await pool.execute("DELETE FROM carillon.poison_messages")
    for queue in QUEUES:
        await broker.put(queue, UNREADABLE[case])
    await _ordinary_events_arrive(platform)

    async def kept() -> bool:
        rows = await pool.fetch("SELECT DISTINCT queue FROM carillon.poison_messages")
        return {row["queue"] for row in rows} == set(QUEUES)

    await eventually(kept, seconds=30, what="every queue's message among the poison messages")
    await broker.empty(*QUEUES)
    errors = await pool.fetch("SELECT error, length(body) AS size FROM carillon.poison_messages")
    assert all(row["error"] for row in errors)
    assert max(row["size"] for row in errors) <= 65_536


async def test_a_message_in_the_wrong_place_is_set_aside(platform: Platform, broker: HandMade) -> None:
    """Readable, but nothing that this queue's service can do: it waits in the dead letters, or as poison."""
    await broker.drain(dead_queue(Channel.INAPP))
    for queue in (work_queue(Channel.INAPP, Lane.NORMAL), dispatch_queue(Lane.NORMAL)):
        await broker.send(queue, LiveSignal(tenant="t", name="n", data=1))
    await _ordinary_events_arrive(platform)
    found: list[Message | None] = []

    async def set_aside() -> bool:
        found.extend(await broker.drain(dead_queue(Channel.INAPP)))
        return any(isinstance(message, LiveSignal) for message in found)

    await eventually(set_aside, seconds=30, what="the message in the feed's dead letters")
    others = [message for message in found if not isinstance(message, LiveSignal)]
    assert len(found) - len(others) == 1
    assert {type(message) for message in others} <= {DeadDelivery}  # of other tests
    pool = await platform.database.pool(max_size=1)

    async def kept() -> bool:
        kinds = await pool.fetch(
            "SELECT message_type FROM carillon.poison_messages WHERE queue = $1", DISPATCH_DEAD_QUEUE
        )
        return [row["message_type"] for row in kinds].count(LiveSignal.TYPE) == 1

    await eventually(kept, seconds=30, what="the dispatcher to keep the message")
    await pool.close()


async def _wait(platform: Platform, tenant: Tenant, **document: Any) -> tuple[str, WorkChunk]:
    """Return an event whose mails and items wait, because their workers are away, and its mail's message."""
    people = await register_many(platform, tenant, 3)
    await _type(tenant, "news.published", **document)
    event = await tenant.send(type="news.published", data={}, audience={"users": people})
    await tenant.event_is(event, queued=6)
    pool = await platform.database.pool(max_size=1)
    chunk = await chunk_of(pool, event, Channel.EMAIL)
    await pool.close()
    return event, chunk


@pytest.fixture
async def idle_workers(platform: Platform) -> AsyncIterator[None]:
    """Workers that are away while the scene is set."""
    await platform.stop("email-worker", "inapp-worker")
    yield
    await platform.start(*{"email-worker", "inapp-worker"} - platform.processes.keys())


async def test_work_for_a_deleted_subscriber_is_skipped(platform: Platform, idle_workers: None) -> None:
    tenant = await platform.new_tenant()
    event, _ = await _wait(platform, tenant)
    await tenant.call("DELETE", "/v1/subscribers/p-2", expect=204)
    await platform.start("email-worker", "inapp-worker")
    await tenant.event_is(event, sent=2, delivered=2, skipped=2)
    skipped = [one for one in await tenant.deliveries(event) if one["status"] == "skipped"]
    assert {(one["subscriber"], one["reason"]) for one in skipped} == {("p-2", "unknown_subscriber")}


async def test_a_deleted_template_makes_dead_letters_that_can_be_mended(
    platform: Platform, idle_workers: None
) -> None:
    tenant = await platform.new_tenant()
    event, _ = await _wait(platform, tenant)
    for place in ("email/en", "inapp/en"):
        await tenant.call("DELETE", f"/v1/event-types/news.published/templates/{place}", expect=204)
    await platform.start("email-worker", "inapp-worker")
    await tenant.event_is(event, dead=6)
    assert {one["reason"] for one in await tenant.deliveries(event)} == {"template_missing"}
    await _type(tenant, "news.published")
    body = {"filter": {"event_type": "news.published"}, "reason": "the templates are back"}

    async def replayed() -> bool:
        """Workers look at a type again after two seconds; who replays at once may have to do so again."""
        counts = (await tenant.call("GET", f"/v1/events/{event}"))["progress"]["by_status"]
        if set(counts) <= {"dead", "sent", "delivered"} and "dead" in counts:
            await tenant.call("POST", "/v1/admin/dead-letters:replay", expect=202, json=body)
        return bool(counts == {"sent": 3, "delivered": 3})

    await eventually(replayed, seconds=60, what="everything delivered")


async def test_a_deleted_event_type_ends_its_waiting_work(platform: Platform, idle_workers: None) -> None:
    tenant = await platform.new_tenant()
    event, _ = await _wait(platform, tenant)
    await tenant.call("DELETE", "/v1/event-types/news.published", expect=204)
    await platform.start("email-worker", "inapp-worker")
    await tenant.event_is(event, dead=6)
    assert {one["reason"] for one in await tenant.deliveries(event)} == {"template_missing"}


async def test_work_for_a_dropped_event_is_let_go(
    platform: Platform, broker: HandMade, pool: Pool, idle_workers: None
) -> None:
    tenant = await platform.new_tenant()
    event, chunk = await _wait(platform, tenant)
    for statement in (
        "DELETE FROM carillon.deliveries WHERE event_id = $1",
        "DELETE FROM carillon.events WHERE id = $1",
    ):
        await pool.execute(statement, chunk.event_id)
    await platform.start("email-worker", "inapp-worker")
    await broker.send(EMAIL, chunk)
    await _ordinary_events_arrive(platform)
    await broker.empty(*QUEUES)
    assert (await tenant.http.get(f"/v1/events/{event}")).status_code == 404


async def test_work_for_deliveries_that_never_were_is_let_go(
    platform: Platform, broker: HandMade, idle_workers: None
) -> None:
    """An event that is there, ids that are not: a restored database may leave such messages."""
    tenant = await platform.new_tenant()
    event, chunk = await _wait(platform, tenant)
    strange = chunk.model_copy(update={"delivery_ids": [*chunk.delivery_ids, uuid4()]})
    await platform.start("email-worker", "inapp-worker")
    await broker.send(EMAIL, strange)
    await tenant.event_is(event, sent=3, delivered=3)
    await _ordinary_events_arrive(platform)


async def test_dead_letters_of_poison_do_not_multiply(platform: Platform, broker: HandMade) -> None:
    """A copy in a dead queue that nobody can read stays where it is, once, through every pass."""
    queue = dead_queue(Channel.EMAIL)
    await broker.drain(queue)
    await broker.put(queue, Raw(b"?", "what.is.this", "odd"))
    await _ordinary_events_arrive(platform)
    tenant = await platform.new_tenant()
    chunk = DeadDelivery(
        event_id=uuid4(),
        tenant=tenant.slug,
        channel=Channel.EMAIL,
        lane=Lane.NORMAL,
        delivery_id=uuid4(),
        attempt=1,
        reason="poison",
    )
    await broker.send(queue, chunk, copies=3)

    async def only_the_odd_one() -> bool:
        waiting = await broker.look_into(queue)  # dead letters of other tests may be among them
        return [one for one in waiting if one is None or one == chunk] == [None]

    await eventually(only_the_odd_one, seconds=60, what="stale copies to leave the dead queue")


@asynccontextmanager
async def _doomed(platform: Platform, name: str, *, by: str) -> AsyncIterator[None]:
    """Run a worker that a message about this delivery kills, in the place of the usual one."""
    module = {"email-worker": "carillon_email_worker", "inapp-worker": "carillon_inapp_worker"}[name]
    env = platform.environment(name) | {"DOOMED_BY": by}
    env["PYTHONPATH"] = os.pathsep.join([str(_TESTS), *filter(None, [env.get("PYTHONPATH")])])
    with (platform.logs / f"doomed-{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "support.doomed_worker", f"{module}.__main__"),
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        async with asyncio.timeout(60):
            await process.wait()
        await platform.start(name)


@pytest.mark.parametrize(
    ("worker", "channel", "ended"),
    [("email-worker", Channel.EMAIL, "sent"), ("inapp-worker", Channel.INAPP, "delivered")],
)
async def test_only_the_delivery_that_kills_its_worker_is_buried(
    platform: Platform, worker: str, channel: Channel, ended: str
) -> None:
    """All that a worker had taken comes again with each death, and counts towards the same limit."""
    tenant = await platform.new_tenant()
    people = await register_many(platform, tenant, 12)
    await _type(tenant, "news.published", channels=[channel])
    await platform.stop(worker)
    first = await tenant.send(type="news.published", data={}, audience={"users": people})
    others = [
        await tenant.send(type="news.published", data={}, audience={"users": people[:3]}, priority=lane)
        for lane in ("normal", "normal", "critical", "bulk", "normal")
    ]
    await tenant.event_is(first, queued=12)
    guilty = (await tenant.deliveries(first))[7]
    async with _doomed(platform, worker, by=guilty["id"]):

        async def over() -> bool:
            found = [await tenant.call("GET", f"/v1/events/{event}") for event in (first, *others)]
            wanted = [{ended: 11, "dead": 1}, *([{ended: 3}] * len(others))]
            return [one["progress"]["by_status"] for one in found] == wanted

        await eventually(over, seconds=180, what="the guilty delivery dead and all others done")
    (dead,) = (await tenant.call("GET", "/v1/admin/dead-letters"))["data"]
    assert (dead["id"], dead["reason"]) == (guilty["id"], "poison")
    if channel is Channel.EMAIL:
        for person in people:
            mails = await platform.mock("/api/mail", to=address_of(tenant, person), limit=50, detail=False)
            wanted = len(others) * (person in people[:3]) + (person != guilty["subscriber"])
            assert len(mails["items"]) == wanted, person
