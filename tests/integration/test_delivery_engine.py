"""The worker engine on a real database and a real broker, with a provider whose answers the test decides."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest
from carillon_shared.broker.declare import declare
from carillon_shared.broker.outgoing import Outgoing
from carillon_shared.broker.session import BrokerSession
from carillon_shared.contracts.messages import DeadDelivery, EventAccepted, WorkChunk
from carillon_shared.delivery.worker import ChannelWorker, run_worker
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.outcomes import Hold, Outcome, Rejected, Retry, Sent, Undeliverable, Unknown
from carillon_shared.domain.states import HoldReason
from carillon_shared.domain.suppressions import SuppressionReason
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service
from carillon_shared.topology.carillon import WORK, dead_queue, work_queue, work_routing_key
from support.migrated import MigratedDatabase
from support.sending import ScriptedProvider, as_it_is
from support.waiting import eventually
from support.world import World, make_world

pytestmark = pytest.mark.timeout(60)


@dataclass(slots=True)
class Bench:
    """A running e-mail worker and all around it."""

    world: World
    broker_url: str
    session: BrokerSession
    service: Service
    provider: ScriptedProvider
    shutdown: Shutdown
    worker: asyncio.Task[None] | None = None

    def start(self, *, concurrency: int = 16, attempt_limit: float = 5.0) -> None:
        worker = ChannelWorker(
            channel=Channel.EMAIL,
            compose=as_it_is,
            provider=self.provider,
            concurrency=concurrency,
            attempt_limit=attempt_limit,
        )
        self.shutdown = Shutdown()
        self.worker = asyncio.create_task(run_worker(worker, self.service, self.shutdown))

    async def stop(self) -> None:
        if self.worker is not None:
            self.shutdown.request()
            await self.worker
            self.worker = None

    async def send(
        self, event: UUID, ids: Sequence[UUID], *, attempt: int = 1, lane: Lane = Lane.NORMAL
    ) -> None:
        chunk = WorkChunk(
            event_id=event,
            tenant=self.world.slug,
            channel=Channel.EMAIL,
            lane=lane,
            attempt=attempt,
            delivery_ids=list(ids),
        )
        key = work_routing_key(Channel.EMAIL, lane)
        await self.session.publisher.publish(Outgoing(WORK.name, key, chunk, str(ids[0])))

    async def until(self, event: UUID, **expected: int) -> None:
        await eventually(lambda: self._is(event, expected), seconds=20, what=f"{expected} of {event}")

    async def _is(self, event: UUID, expected: dict[str, int]) -> bool:
        return await self.world.statuses(event) == expected


@pytest.fixture
async def bench(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Bench]:
    await declare(broker_url)
    pool = await migrated.pool()
    world = await make_world(pool, people=50)
    service = Service(database_url=migrated.url("carillon_email_worker"), broker_url=broker_url)
    async with BrokerSession(broker_url, name="test") as session:
        await session.publisher.wait_connected()
        made = Bench(world, broker_url, session, service, ScriptedProvider(), Shutdown())
        yield made
        await made.stop()
    await pool.close()


async def test_a_chunk_is_sent_once_each_and_recorded(bench: Bench) -> None:
    event = await bench.world.add_event()
    ids = await bench.world.add_deliveries(event, bench.world.people, Channel.EMAIL)
    bench.start(concurrency=7)
    await bench.send(event, ids)
    await bench.until(event, sent=50)
    assert dict(bench.provider.received) == dict.fromkeys(ids, 1)
    assert bench.provider.most_open_calls <= 7
    await bench.stop()
    attempts = await bench.world.pool.fetch("SELECT * FROM carillon.attempts")
    assert {(row["number"], row["outcome"], row["provider"]) for row in attempts} == {(1, "sent", "scripted")}
    assert len(attempts) == 50
    assert await bench.world.pool.fetchval("SELECT count(*) FROM carillon.leases") == 0
    row = await bench.world.pool.fetchrow("SELECT * FROM carillon.deliveries WHERE id = $1", ids[0])
    assert row is not None
    assert row["provider_id"] == f"p-{ids[0]}"


async def test_the_same_message_twice_sends_once(bench: Bench) -> None:
    event = await bench.world.add_event()
    ids = await bench.world.add_deliveries(event, bench.world.people[:5], Channel.EMAIL)
    await bench.send(event, ids)
    await bench.send(event, ids)
    bench.start()
    await bench.until(event, sent=5)
    later = await bench.world.add_event()
    (last,) = await bench.world.add_deliveries(later, bench.world.people[:1], Channel.EMAIL)
    await bench.send(later, [last])
    await bench.until(later, sent=1)
    assert max(bench.provider.received.values()) == 1


async def test_a_passing_failure_is_retried_and_then_sent(bench: Bench) -> None:
    async def busy_first(delivery: LeasedDelivery) -> Outcome:
        return Sent() if delivery.attempt == 2 else Retry("421", "busy")

    bench.provider.answer = busy_first
    await bench.world.pool.execute(
        """INSERT INTO carillon.event_types (tenant_id, name, channels, retry)
        VALUES ($1, 'message', '{email}', $2)""",
        bench.world.tenant_id,
        {"email": {"strategy": "fixed", "initial": 1, "max_attempts": 3, "jitter": 0}},
    )
    event = await bench.world.add_event()
    ids = await bench.world.add_deliveries(event, bench.world.people[:4], Channel.EMAIL)
    bench.start()
    await bench.send(event, ids)
    await bench.until(event, retrying=4)
    await bench.until(event, sent=4)
    assert set(bench.provider.received.values()) == {2}
    outcomes = await bench.world.pool.fetch(
        "SELECT number, outcome, code FROM carillon.attempts WHERE delivery_id = $1 ORDER BY number", ids[0]
    )
    assert [tuple(row) for row in outcomes] == [(1, "retry", "421"), (2, "sent", None)]
    assert await bench.world.pool.fetchval("SELECT count(*) FROM carillon.due") == 0


async def test_exhausted_retries_end_in_the_dead_letters_on_both_sides(bench: Bench) -> None:
    async def never(_delivery: LeasedDelivery) -> Outcome:
        return Retry("451", "always busy")

    bench.provider.answer = never
    await bench.world.pool.execute(
        """INSERT INTO carillon.event_types (tenant_id, name, channels, retry)
        VALUES ($1, 'message', '{email}', $2)""",
        bench.world.tenant_id,
        {"email": {"strategy": "fixed", "initial": 0.5, "max_attempts": 2, "jitter": 0}},
    )
    event = await bench.world.add_event()
    (delivery,) = await bench.world.add_deliveries(event, bench.world.people[:1], Channel.EMAIL)
    bench.start()
    await bench.send(event, [delivery])
    await bench.until(event, dead=1)
    row = await bench.world.pool.fetchrow("SELECT * FROM carillon.dead_letters")
    assert row is not None
    assert (row["delivery_id"], row["attempt"], row["reason"]) == (delivery, 2, "retries_exhausted")
    (copy,) = await bench.session.subscribe(dead_queue(Channel.EMAIL), prefetch=1).take(1)
    dead = DeadDelivery.model_validate_json(copy.body)
    assert (dead.delivery_id, dead.attempt, dead.reason) == (delivery, 2, "retries_exhausted")


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (Undeliverable("550", "no such user"), "failed", "invalid_address"),
        (Rejected("554", "spam"), "dead", "provider_rejected"),
        (Unknown("timeout", "no answer"), "unknown", None),
        (Hold(60.0, HoldReason.THROTTLED), "held", None),
    ],
)
async def test_every_outcome_has_its_state(
    bench: Bench, outcome: Outcome, status: str, reason: str | None
) -> None:
    async def answer(_delivery: LeasedDelivery) -> Outcome:
        return outcome

    bench.provider.answer = answer
    event = await bench.world.add_event()
    (delivery,) = await bench.world.add_deliveries(event, bench.world.people[:1], Channel.EMAIL)
    bench.start()
    await bench.send(event, [delivery])
    await bench.until(event, **{status: 1})
    row = await bench.world.pool.fetchrow("SELECT * FROM carillon.deliveries WHERE id = $1", delivery)
    assert row is not None
    assert row["reason"] == reason
    assert row["attempt"] == (0 if status == "held" else 1)  # waiting is no attempt
    due = await bench.world.pool.fetchval(
        "SELECT kind::text FROM carillon.due WHERE delivery_id = $1", delivery
    )
    assert due == {"unknown": "unknown", "held": "hold"}.get(status)


async def test_what_changed_since_planning_is_seen_at_the_last_moment(bench: Bench) -> None:
    event = await bench.world.add_event()
    ids = await bench.world.add_deliveries(event, bench.world.people[:3], Channel.EMAIL)
    cancelled = await bench.world.add_event()
    stopped = await bench.world.add_deliveries(cancelled, bench.world.people[:1], Channel.EMAIL)
    expired = await bench.world.add_event()
    late = await bench.world.add_deliveries(expired, bench.world.people[:1], Channel.EMAIL)
    pool = bench.world.pool
    await pool.execute(
        "INSERT INTO carillon.preferences (tenant_id, subscriber, document) VALUES ($1, $2, $3)",
        bench.world.tenant_id,
        bench.world.people[0],
        {"all": {"email": False}},
    )
    await pool.execute(
        "UPDATE carillon.subscribers SET email = NULL WHERE number = $1", bench.world.people[1]
    )
    await pool.execute(
        "UPDATE carillon.events SET status = 'cancelled', cancelled_at = now() WHERE id = $1", cancelled
    )
    await pool.execute("UPDATE carillon.events SET expires_at = now() - interval '1s' WHERE id = $1", expired)
    bench.start()
    for one, deliveries in ((event, ids), (cancelled, stopped), (expired, late)):
        await bench.send(one, deliveries)
    await bench.until(event, sent=1, skipped=2)
    await bench.until(cancelled, cancelled=1)
    await bench.until(expired, expired=1)
    reasons = await pool.fetch("SELECT id, reason::text FROM carillon.deliveries WHERE event_id = $1", event)
    assert {row["id"]: row["reason"] for row in reasons} == dict(
        zip(ids, ["opted_out", "no_address", None], strict=True)
    )
    assert list(bench.provider.received) == [ids[2]]


async def test_stopping_finishes_open_calls_and_gives_back_the_rest(bench: Bench) -> None:
    gate = asyncio.Event()

    async def wait_for_gate(_delivery: LeasedDelivery) -> Outcome:
        await gate.wait()
        return Sent()

    bench.provider.answer = wait_for_gate
    event = await bench.world.add_event()
    ids = await bench.world.add_deliveries(event, bench.world.people, Channel.EMAIL)
    bench.start(concurrency=8)
    await bench.send(event, ids)

    async def calls_are_open() -> bool:
        return bench.provider.open_calls == 7  # an eighth of the slots is kept for critical work

    await eventually(calls_are_open, seconds=20, what="seven open calls")
    assert bench.worker is not None
    bench.shutdown.request()
    gate.set()
    await bench.worker
    bench.worker = None
    assert await bench.world.statuses(event) == {"sent": 7, "queued": 43}
    bench.start(concurrency=8)
    await bench.until(event, sent=50)
    assert set(bench.provider.received.values()) == {1}


async def test_an_undecodable_message_is_kept_and_dead_lettered(bench: Bench) -> None:
    wrong = EventAccepted(event_id=UUID(int=1), tenant="acme", event_type="x", lane=Lane.NORMAL)
    bench.start()
    await bench.session.publisher.publish(Outgoing(WORK.name, "email.normal", wrong, "odd"))
    (copy,) = await bench.session.subscribe(dead_queue(Channel.EMAIL), prefetch=1).take(1)
    assert copy.message_id == "odd"
    row = await bench.world.pool.fetchrow("SELECT * FROM carillon.poison_messages")
    assert row is not None
    assert (row["queue"], row["message_id"]) == (work_queue(Channel.EMAIL, Lane.NORMAL), "odd")


async def test_critical_work_finds_a_slot_while_bulk_holds_all_it_may(bench: Bench) -> None:
    gate = asyncio.Event()

    async def hang_bulk(delivery: LeasedDelivery) -> Outcome:
        if delivery.lane is Lane.BULK:
            await gate.wait()
        return Sent()

    bench.provider.answer = hang_bulk
    bulk = await bench.world.add_event(lane=Lane.BULK)
    bulk_ids = await bench.world.add_deliveries(bulk, bench.world.people, Channel.EMAIL, Lane.BULK)
    urgent = await bench.world.add_event(lane=Lane.CRITICAL)
    urgent_ids = await bench.world.add_deliveries(urgent, bench.world.people, Channel.EMAIL, Lane.CRITICAL)
    bench.start(concurrency=8)
    await bench.send(bulk, bulk_ids, lane=Lane.BULK)

    async def bulk_is_stuck() -> bool:
        return bench.provider.open_calls == 4

    await eventually(bulk_is_stuck, seconds=20, what="four open bulk calls")
    await bench.send(urgent, urgent_ids, lane=Lane.CRITICAL)
    await bench.until(urgent, sent=50)
    gate.set()
    await bench.until(bulk, sent=50)


async def test_words_that_cannot_be_stored_do_not_stop_the_worker(bench: Bench) -> None:
    async def garbage(_delivery: LeasedDelivery) -> Outcome:
        return Rejected("5\0", "nul \0 and a lone \ud800", stack="x\0" * 9000)

    bench.provider.answer = garbage
    event = await bench.world.add_event()
    (delivery,) = await bench.world.add_deliveries(event, bench.world.people[:1], Channel.EMAIL)
    bench.start()
    await bench.send(event, [delivery])
    await bench.until(event, dead=1)
    row = await bench.world.pool.fetchrow("SELECT code, error FROM carillon.attempts")
    assert row is not None
    assert (row["code"], row["error"]) == ("5", "nul  and a lone ?")


async def test_an_address_that_nothing_reaches_is_suppressed_with_the_settle(bench: Bench) -> None:
    async def gone(delivery: LeasedDelivery) -> Outcome:
        if delivery.recipient.id == "u-1":
            return Undeliverable("smtp_550", "550 5.1.1 no\0 such user", suppress=SuppressionReason.BOUNCED)
        return Undeliverable("smtp_552", "552 5.2.2 full")

    bench.provider.answer = gone
    first = await bench.world.add_event()
    await bench.send(first, await bench.world.add_deliveries(first, bench.world.people[:2], Channel.EMAIL))
    bench.start()
    await bench.until(first, failed=2)
    (row,) = await bench.world.pool.fetch("SELECT * FROM carillon.suppressions")
    assert (row["reason"], row["shown"], row["channel"]) == ("bounced", "u***@e***.org", "email")
    assert row["expires_at"] is not None
    again = await bench.world.add_event()
    await bench.send(again, await bench.world.add_deliveries(again, bench.world.people[:2], Channel.EMAIL))
    await bench.until(again, skipped=1, failed=1)
