"""The checker is proven: each kind of damage, done on purpose, is seen as the broken promise it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import aiosmtplib
import pytest
from carillon_shared.db.pool import Pool
from carillon_shared.topology.carillon import retry_exchange
from carillon_shared.topology.ladder import LADDER
from support.broker_queues import plain_channel
from support.faults.drained import queue_depths, unacked
from support.faults.invariants import check
from support.faults.ledger import Ledger
from support.faults.listener import listening
from support.faults.traffic import Traffic, prepare_traffic, traffic
from support.platform import HOST, Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

EVENTS = 10
SEED = 19  # its events are of every kind


@dataclass(frozen=True, slots=True)
class Scene:
    """A tenant whose traffic has come to rest, and hands to break what is written down about it."""

    platform: Platform
    pool: Pool
    ledger: Ledger

    async def alter(self, sql: str, *arguments: Any) -> None:
        """Run a statement in which $1 is the tenant; it must change something."""
        done = await self.pool.execute(sql, self.ledger.tenant.id, *arguments)
        assert not done.endswith(" 0"), f"{sql} changed nothing"

    async def one(self, where: str) -> Any:
        """Return a delivery of the tenant, with its event's type and the person's address."""
        row = await self.pool.fetchrow(
            f"""
            SELECT d.id, e.type, s.email FROM carillon.deliveries d
            JOIN carillon.events e ON e.id = d.event_id
            JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
            WHERE d.tenant_id = $1 AND {where} ORDER BY d.id LIMIT 1
            """,
            self.ledger.tenant.id,
        )
        assert row is not None, where
        return row

    async def mail(self, reference: object, to: str) -> None:
        """Let the provider take a mail that no worker sent."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "no-reply@carillon.test", to, "Once more"
        message["Message-ID"] = f"<{reference}@carillon.test>"
        message.set_content("Once more")
        port = self.platform.addresses.ports["mock_smtp"]
        await aiosmtplib.send(message, hostname=HOST, port=port, start_tls=False)

    async def broken(self, *, seconds: float = 10.0) -> set[str]:
        """Return which invariants the checker finds broken."""
        report = await check(self.platform, self.ledger, seconds=seconds)
        return report.broken()


@pytest.fixture(scope="module")
async def finished_flows(request: pytest.FixtureRequest, shared_ground: Platform) -> list[Traffic]:
    """Tenants to damage, one for each test. One person of each has no phone, so that something is skipped."""
    here = [item for item in request.session.items if item.path == Path(__file__)]
    tenants = sum("scene" in getattr(item, "fixturenames", ()) for item in here)
    flows = [
        await prepare_traffic(shared_ground, people=4, rate=3, limit=EVENTS, seed=SEED)
        for _ in range(tenants)
    ]
    for flow in flows:
        path = f"/v1/subscribers/{flow.people[0]}"
        address = f"{flow.people[0]}@{flow.tenant.slug}.example.org"
        reply = await flow.tenant.http.put(path, json={"email": address})
        assert reply.is_success, reply.text
        flow.start()
    await asyncio.gather(*(flow.finished() for flow in flows))
    (await check(shared_ground, *(flow.ledger for flow in flows))).assert_clean()
    return flows


@pytest.fixture
async def scene(shared_ground: Platform, finished_flows: list[Traffic]) -> AsyncIterator[Scene]:
    """A tenant of this test's own."""
    pool = await shared_ground.database.pool(max_size=1)
    yield Scene(shared_ground, pool, finished_flows.pop().ledger)
    await pool.close()


async def test_a_run_without_faults_is_clean(shared_ground: Platform) -> None:
    async with (
        traffic(shared_ground, rate=40, limit=60) as flow,
        listening(shared_ground, flow.tenant, flow.people[:3]) as listeners,
    ):
        await flow.finished()
        report = await check(shared_ground, flow.ledger, listeners=listeners)
    report.assert_clean()
    assert len(flow.ledger.accepted) == 60
    assert all(len(listener.items) > 5 for listener in listeners)


@pytest.mark.extended
async def test_an_answer_no_producer_may_get(scene: Scene) -> None:
    scene.ledger.surprises.append("POST n-1: 500")
    assert await scene.broken() == {"I0"}


@pytest.mark.extended
async def test_an_accepted_event_without_a_row(scene: Scene) -> None:
    own, entry = next(iter(scene.ledger.accepted.items()))
    entry.event = uuid4()
    scene.ledger.unanswered.add(own)
    assert await scene.broken() == {"I1", "I4"}  # and the API does not know it either


@pytest.mark.extended
async def test_an_event_no_producer_was_told_of(scene: Scene) -> None:
    scene.ledger.accepted.popitem()
    assert await scene.broken() == {"I2"}


@pytest.mark.extended
async def test_a_delivery_that_is_gone(scene: Scene) -> None:
    await scene.alter("DELETE FROM carillon.deliveries WHERE tenant_id = $1 AND status = 'skipped'")
    assert await scene.broken() == {"I1"}


@pytest.mark.extended
async def test_a_delivery_that_is_said_to_be_sent_and_is_not(scene: Scene) -> None:
    await scene.alter(
        "UPDATE carillon.deliveries SET status = 'sent', reason = NULL "
        "WHERE tenant_id = $1 AND status = 'skipped'"
    )
    assert await scene.broken() == {"I1"}


@pytest.mark.extended
async def test_a_delivery_cancelled_though_nobody_asked(scene: Scene) -> None:
    await scene.alter(
        "UPDATE carillon.deliveries SET status = 'cancelled', reason = 'cancelled' "
        "WHERE tenant_id = $1 AND status = 'skipped'"
    )
    assert await scene.broken() == {"I1"}


@pytest.mark.extended
async def test_a_delivery_that_never_comes_to_rest(scene: Scene) -> None:
    await scene.alter(
        "UPDATE carillon.deliveries SET status = 'held', reason = NULL, hold_reason = 'scheduled' "
        "WHERE tenant_id = $1 AND status = 'skipped'"
    )
    assert await scene.broken(seconds=1) == {"I1", "I10"}


@pytest.mark.extended
async def test_a_delivery_that_nobody_asked_for(scene: Scene) -> None:
    for one in scene.ledger.accepted.values():
        one.pairs = frozenset(sorted(one.pairs)[1:])
    assert await scene.broken() == {"I2"}


@pytest.mark.extended
async def test_a_mail_that_is_no_delivery(scene: Scene) -> None:
    someone = await scene.one("d.status = 'sent' AND d.channel = 'email'")
    await scene.mail(uuid4(), someone["email"])
    assert await scene.broken() == {"I2"}


@pytest.mark.extended
async def test_a_mail_to_another_person(scene: Scene) -> None:
    sent = await scene.one("d.status = 'sent' AND d.channel = 'email'")
    await scene.mail(sent["id"], "somebody@else.example")
    assert await scene.broken() == {"I2", "I3"}


@pytest.mark.extended
async def test_a_mail_of_what_was_skipped(scene: Scene) -> None:
    await scene.alter(
        "UPDATE carillon.deliveries SET status = 'skipped', reason = 'opted_out' "
        "WHERE tenant_id = $1 AND status = 'sent' AND channel = 'email'"
    )
    assert await scene.broken() == {"I2"}


@pytest.mark.extended
async def test_a_double_without_an_unknown_attempt(scene: Scene) -> None:
    sent = await scene.one("d.status = 'sent' AND d.channel = 'email' AND e.type <> 'login.code'")
    await scene.mail(sent["id"], sent["email"])
    assert await scene.broken() == {"I3"}


@pytest.mark.extended
async def test_an_honest_double_is_no_violation_and_a_third_is(scene: Scene) -> None:
    sent = await scene.one("d.status = 'sent' AND d.channel = 'email' AND e.type <> 'login.code'")
    await scene.mail(sent["id"], sent["email"])
    await scene.alter(
        "UPDATE carillon.attempts SET outcome = 'unknown' WHERE tenant_id = $1 AND delivery_id = $2",
        sent["id"],
    )
    assert await scene.broken() == set()
    await scene.mail(sent["id"], sent["email"])
    assert await scene.broken() == {"I3"}


@pytest.mark.extended
async def test_a_double_of_what_is_sent_at_most_once(scene: Scene) -> None:
    sent = await scene.one("d.status = 'sent' AND d.channel = 'email' AND e.type = 'login.code'")
    await scene.mail(sent["id"], sent["email"])
    await scene.alter(
        "UPDATE carillon.attempts SET outcome = 'unknown' WHERE tenant_id = $1 AND delivery_id = $2",
        sent["id"],
    )
    assert await scene.broken() == {"I3"}


@pytest.mark.extended
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM carillon.attempts WHERE tenant_id = $1",
        "UPDATE carillon.deliveries SET attempt = attempt + 1 WHERE tenant_id = $1 AND channel = 'inapp'",
        """INSERT INTO carillon.leases SELECT 1, now() + interval '1 hour', 'nobody', array_agg(id)
           FROM carillon.deliveries WHERE tenant_id = $1""",
        """INSERT INTO carillon.due SELECT id, now() + interval '1 hour', 'retry'
           FROM carillon.deliveries WHERE tenant_id = $1""",
        """INSERT INTO carillon.dead_letters (delivery_id, tenant_id, channel, event_type, attempt, reason)
           SELECT id, tenant_id, channel, 'x', 1, 'poison' FROM carillon.deliveries WHERE tenant_id = $1""",
        "UPDATE carillon.deliveries SET status = 'dead' WHERE tenant_id = $1 AND status = 'skipped'",
    ],
)
async def test_rows_that_do_not_add_up(scene: Scene, damage: str) -> None:
    await scene.alter(damage)
    assert await scene.broken() == {"I4"}


@pytest.mark.extended
async def test_a_retry_before_its_time_and_one_too_many(scene: Scene) -> None:
    sent = await scene.one("d.status = 'sent' AND d.channel = 'email'")
    await scene.alter(
        "UPDATE carillon.attempts SET outcome = 'retry' WHERE tenant_id = $1 AND delivery_id = $2", sent["id"]
    )
    await scene.alter(
        "INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, outcome, provider) "
        "SELECT delivery_id, 2, $1, ended_at, 'sent', 'smtp' FROM carillon.attempts WHERE delivery_id = $2",
        sent["id"],
    )
    await scene.alter(
        "UPDATE carillon.deliveries SET attempt = 2 WHERE tenant_id = $1 AND id = $2", sent["id"]
    )
    assert await scene.broken() == {"I5"}


@pytest.mark.extended
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE carillon.feeds SET seq = seq + 1 WHERE tenant_id = $1",
        "UPDATE carillon.feeds SET unread = unread + 1 WHERE tenant_id = $1",
        "UPDATE carillon.feeds SET unseen = unseen - 1 WHERE tenant_id = $1",
        "UPDATE carillon.feed_items SET seq = 1, attention_seq = 1 WHERE tenant_id = $1 AND seq = 2",
    ],
)
async def test_a_feed_with_a_hole_or_a_counter_that_drifts(scene: Scene, damage: str) -> None:
    await scene.alter(damage)
    assert await scene.broken() == {"I9"}


@pytest.mark.extended
async def test_a_listener_that_missed_something(scene: Scene) -> None:
    async with listening(scene.platform, scene.ledger.tenant, ["p-2"]) as listeners:
        listeners[0].last = None  # it asks for what is new from now on
        report = await check(scene.platform, scene.ledger, listeners=listeners)
    assert report.broken() == {"I9"}


@pytest.mark.extended
async def test_a_message_that_stays_in_a_queue(scene: Scene) -> None:
    async with _left_message(scene.platform):
        assert await scene.broken(seconds=1) == {"I10"}
    assert await scene.broken() == set()


@pytest.mark.extended
async def test_an_address_or_a_key_in_a_log(scene: Scene) -> None:
    for said in (f"to p-1@{scene.ledger.tenant.slug}.example.org", scene.ledger.tenant.key):
        log = scene.platform.logs / "careless.log"
        log.write_text(f'{{"event": "sent", "note": "{said}"}}\n')
        assert await scene.broken() == {"I11"}
        log.unlink()


@pytest.mark.extended
async def test_a_message_that_nobody_acks(scene: Scene) -> None:
    url, queue = scene.platform.addresses.broker_url, retry_exchange(LADDER[-1])
    async with _left_message(scene.platform), plain_channel(url) as channel:
        held = await (await channel.get_queue(queue, ensure=False)).get()
        assert held is not None
        await eventually(_shows_unacked(scene.platform), seconds=30, what="the management API to tell it")
        assert (await queue_depths(url, [queue])) == {queue: 0}
        assert await scene.broken(seconds=1) == {"I10"}


@asynccontextmanager
async def _left_message(platform: Platform) -> AsyncIterator[None]:
    """Leave a message where nobody takes it for an hour."""
    url, name = platform.addresses.broker_url, retry_exchange(LADDER[-1])
    async with plain_channel(url) as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"{}"), routing_key=name)
    try:
        yield
    finally:
        async with plain_channel(url) as channel:
            await (await channel.get_queue(name, ensure=False)).purge()


def _shows_unacked(platform: Platform) -> Callable[[], Awaitable[list[str]]]:
    async def look() -> list[str]:
        return await unacked(platform)

    return look
