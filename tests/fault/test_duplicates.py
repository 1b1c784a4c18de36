"""Every message twice and ten times, to the same and to different workers, in and out of order (F22, F23)."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from carillon_shared.contracts.messages import (
    DeadDelivery,
    EventAccepted,
    LiveChunk,
    RangePlanned,
    WorkChunk,
)
from carillon_shared.domain.channels import Channel
from carillon_shared.topology.carillon import dead_queue
from support.audience import address_of, register_many
from support.faults.duplicator import duplicating
from support.faults.invariants import check
from support.faults.listener import listening
from support.faults.traffic import traffic
from support.hand_made import hand_made
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

KINDS = {message.TYPE for message in (EventAccepted, RangePlanned, WorkChunk, LiveChunk)}
_STATES = """
    SELECT id, status::text, attempt, reason::text, lease_token FROM carillon.deliveries
    WHERE tenant_id = $1 ORDER BY id
"""


@pytest.fixture(scope="module")
async def platform(shared_ground: Platform) -> Platform:
    """Two of everything that consumes; an audience of twelve is cut into ranges."""
    shared_ground.extra["dispatcher"] |= {
        "CARILLON_DISPATCHER_RANGE_SIZE": "5",
        "CARILLON_DISPATCHER_DEAD_QUEUE_INTERVAL": "1",
    }
    await shared_ground.restart("dispatcher")
    await shared_ground.start("dispatcher-2", "email-worker-2", "inapp-worker-2", "whatsapp-worker-2")
    return shared_ground


async def _refuse_at_first(platform: Platform) -> None:
    """Let each person's first mail be refused, so that retries are among what is copied."""
    rule = {"fault": "retry", "channel": "smtp", "times": 1}
    await platform.mock_control("PUT", "/control/faults", json=[rule])


@pytest.mark.parametrize(
    ("copies", "latest"),
    [
        (2, 0.0),
        pytest.param(10, 0.0, marks=pytest.mark.extended),
        pytest.param(3, 4.0, marks=pytest.mark.extended),
    ],
)
async def test_copies_of_everything_change_nothing(platform: Platform, copies: int, latest: float) -> None:
    await _refuse_at_first(platform)
    async with duplicating(platform, copies=copies, latest=latest) as duplicator:
        async with (
            traffic(platform, rate=15, seed=copies) as flow,
            listening(platform, flow.tenant, flow.people[:4]) as listeners,
        ):
            await flow.accepted(45)
            await flow.stop()
            report = await check(platform, flow.ledger, listeners=listeners, seconds=120)
        report.assert_clean()
        assert duplicator.seen.keys() >= KINDS
    (await check(platform, flow.ledger, seconds=120)).assert_clean()


async def test_everything_once_more_after_the_end_changes_nothing(platform: Platform) -> None:
    """Old messages after new ones: first attempts after retries, retries and work for what is finished."""
    await _refuse_at_first(platform)
    pool = await platform.database.pool(max_size=1)
    async with duplicating(platform, copies=1) as duplicator:
        async with traffic(platform, seed=5) as flow:
            await flow.accepted(40)
        (await check(platform, flow.ledger)).assert_clean()
        before = await pool.fetch(_STATES, flow.tenant.id)
        assert any(row["attempt"] > 1 for row in before)
        assert await duplicator.repeat_all() > 40
    (await check(platform, flow.ledger, seconds=120)).assert_clean()
    after = await pool.fetch(_STATES, flow.tenant.id)
    await pool.close()
    assert after == before


async def test_one_post_fifty_times_at_once_is_one_event(platform: Platform) -> None:
    tenant = await platform.new_tenant()
    (person,) = await register_many(platform, tenant, 1)
    event = {
        "type": "message",
        "source": "/shop",
        "id": uuid4().hex,
        "data": {"title": "Hello", "body": "There"},
        "audience": {"users": [person]},
        "channels": ["email", "inapp"],
    }
    replies = await asyncio.gather(*(tenant.http.post("/v1/events", json=event) for _ in range(50)))
    assert {reply.status_code for reply in replies} == {202}
    ids = {reply.json()["id"] for reply in replies}
    assert len(ids) == 1
    await tenant.event_is(ids.pop(), sent=1, delivered=1)
    assert len((await tenant.call("GET", "/v1/events"))["data"]) == 1
    assert len(await platform.mails_to(address_of(tenant, person))) == 1


async def _dead_mails(platform: Platform, tenant: Tenant) -> tuple[str, list[str]]:
    """Return an event whose three mails are dead, and the people."""
    people = await register_many(platform, tenant, 3)
    retry = {"email": {"strategy": "fixed", "initial": "1s", "max_attempts": 2}}
    body = {"channels": ["email"], "retry": retry}
    await tenant.call("PUT", "/v1/event-types/bill.due", json=body, expect=201)
    template = {"subject": "Bill", "text": "Please pay."}
    assert (await tenant.http.put("/v1/event-types/bill.due/templates/email/en", json=template)).is_success
    rule = {"fault": "server_error", "channel": "smtp", "match": f"*@{tenant.slug}.example.org"}
    await platform.mock_control("PUT", "/control/faults", json=[rule])
    event = await tenant.send(type="bill.due", data={}, audience={"users": people})
    await tenant.event_is(event, dead=3)
    await platform.mock_control("DELETE", "/control/faults")
    return event, people


async def test_copies_of_dead_letters_are_one_dead_letter_each(platform: Platform) -> None:
    queue = dead_queue(Channel.EMAIL)
    async with (
        hand_made(platform.addresses.broker_url) as broker,
        duplicating(platform, copies=10) as duplicator,
    ):
        tenant = await platform.new_tenant()
        event, people = await _dead_mails(platform, tenant)

        async def copied() -> bool:
            await duplicator.finish()
            return duplicator.seen[DeadDelivery.TYPE] >= 3

        await eventually(copied, seconds=30, what="copies of every dead letter")
        count = await tenant.call("GET", "/v1/admin/dead-letters:count")
        assert count["total"] == 3, count
        replay = {"filter": {"event_type": "bill.due"}, "reason": "the server is mended"}
        await tenant.call("POST", "/v1/admin/dead-letters:replay", expect=202, json=replay)
        await tenant.event_is(event, sent=3)
        await broker.empty(queue)
    for person in people:
        found: list[Any] = await platform.mails_to(address_of(tenant, person))
        assert len(found) == 1
