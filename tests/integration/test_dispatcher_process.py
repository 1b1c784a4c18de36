"""The dispatcher as a process, on a real PostgreSQL and a real RabbitMQ, killed where it hurts."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import httpx2
import pytest
from carillon_local.ports import PortHolder
from carillon_shared.broker import BrokerSession, Outgoing, declare
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import DISPATCH_DEAD_QUEUE, EVENTS, event_routing_key, work_queue
from support.migrated import MigratedDatabase
from support.planning import TYPE, Planning, accepted, planning_in
from support.waiting import eventually

pytestmark = pytest.mark.timeout(90)

_ALL = (Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)


@dataclass(slots=True)
class Stage:
    """A database, a broker, and dispatchers that a test starts."""

    planning: Planning
    session: BrokerSession
    database_url: str
    broker_url: str
    health_port: int

    @asynccontextmanager
    async def dispatcher(self, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a dispatcher; it is killed at the end if it still runs."""
        environment = {
            "PATH": os.environ["PATH"],
            "CARILLON_DATABASE_URL": self.database_url,
            "CARILLON_BROKER_URL": self.broker_url,
            "CARILLON_METRICS_PORT": str(self.health_port),
            "CARILLON_DISPATCHER_RANGE_SIZE": "20",
            "CARILLON_DISPATCHER_RELAY_INTERVAL": "0.1",
            "CARILLON_DISPATCHER_COMPLETION_INTERVAL": "0.1",
            "CARILLON_DISPATCHER_RESCUE_INTERVAL": "0.2",
            "CARILLON_DISPATCHER_STALLED_SECONDS": "1",
        } | variables
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "carillon_dispatcher", env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def announce(self, events: Sequence[UUID], *, lane: Lane = Lane.NORMAL) -> None:
        """Publish events as the API's fast path does."""
        key = event_routing_key(lane=lane, tenant="acme", event_type=TYPE)
        for event in events:
            message = accepted(event, lane=lane)
            await self.session.publisher.publish(Outgoing(EVENTS.name, key, message, str(event)))

    async def status_is(self, event: UUID, status: str) -> None:
        """Wait until an event has this status."""

        async def look() -> bool:
            return bool((await self.planning.event(event))["status"] == status)

        await eventually(look, seconds=30, what=f"event {event} to be {status}")

    async def ready(self) -> bool:
        """Tell whether the dispatcher says that it is ready."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            try:
                return (await http.get(f"http://127.0.0.1:{self.health_port}/readyz")).status_code == 200
            except httpx2.TransportError:
                return False


@pytest.fixture
def health_port() -> Iterator[int]:
    holder = PortHolder()
    yield holder.pick()
    holder.release()


@pytest.fixture
async def stage(migrated: MigratedDatabase, broker_url: str, health_port: int) -> AsyncIterator[Stage]:
    await declare(broker_url)
    async with (
        planning_in(migrated, people=50) as planning,
        BrokerSession(broker_url, name="test") as session,
    ):
        await session.publisher.wait_connected()
        yield Stage(planning, session, migrated.url("carillon_dispatcher"), broker_url, health_port)


async def _work(session: BrokerSession, channel: Channel, *, lane: Lane, deliveries: int) -> list[UUID]:
    """Take work messages until they carry so many different deliveries; returns all ids they carry."""
    subscription = session.subscribe(work_queue(channel, lane), prefetch=100)
    found: list[UUID] = []
    while len(set(found)) < deliveries:
        for incoming in await subscription.take(100):
            chunk = decode(incoming.type, incoming.body)
            assert isinstance(chunk, WorkChunk)
            found += chunk.delivery_ids
            await subscription.ack(incoming)
    return found


async def test_small_events_reach_the_work_queues(stage: Stage) -> None:
    events = [
        await stage.planning.add_event({"users": [f"u-{n}"]}, channels=_ALL, lane=Lane.CRITICAL)
        for n in range(1, 31)
    ]
    async with stage.dispatcher() as process:
        await eventually(stage.ready, seconds=30, what="the dispatcher to be ready")
        await stage.announce(events, lane=Lane.CRITICAL)
        for channel in _ALL:
            found = await _work(stage.session, channel, lane=Lane.CRITICAL, deliveries=30)
            assert len(found) == 30
        for event in events:
            await stage.status_is(event, "dispatched")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_what_the_api_did_not_publish_is_relayed_and_completed(stage: Stage) -> None:
    event = await stage.planning.add_event({"users": ["u-1", "stranger"]})
    nobody = await stage.planning.add_event({"users": []})
    await stage.planning.owner.execute("UPDATE carillon.events SET owed_at = now()")
    async with stage.dispatcher():
        assert len(await _work(stage.session, Channel.INAPP, lane=Lane.NORMAL, deliveries=1)) == 1
        await stage.status_is(nobody, "completed")
        await stage.planning.owner.execute(
            "UPDATE carillon.deliveries SET status = 'delivered' WHERE status = 'queued'"
        )
        await stage.status_is(event, "completed")


async def test_a_large_audience_is_fanned_out(stage: Stage) -> None:
    event = await stage.planning.add_event({"everyone": True}, channels=_ALL, lane=Lane.BULK)
    async with stage.dispatcher():
        await stage.announce([event], lane=Lane.BULK)
        for channel in _ALL:
            assert len(await _work(stage.session, channel, lane=Lane.BULK, deliveries=50)) == 50
        await stage.status_is(event, "dispatched")
    assert (await stage.planning.event(event))["ranges"] == 3


async def test_an_event_that_cannot_be_planned_is_marked_and_kept_as_poison(stage: Stage) -> None:
    bad = await stage.planning.add_event({"users": {"no": "list"}})
    good = await stage.planning.add_event({"users": ["u-1"]})
    await stage.announce([bad, good])
    async with stage.dispatcher():
        await stage.status_is(good, "dispatched")

        async def kept() -> bool:
            return bool(await stage.planning.owner.fetchval("SELECT count(*) FROM carillon.poison_messages"))

        await eventually(kept, seconds=30, what="the message to be kept")
    row = await stage.planning.owner.fetchrow("SELECT * FROM carillon.poison_messages")
    assert row is not None
    assert decode(row["message_type"], row["body"]) == accepted(bad)
    assert row["queue"] == DISPATCH_DEAD_QUEUE
    marked = await stage.planning.event(bad)
    assert (marked["owed_at"], marked["plan_error"] is not None) == (None, True)


@pytest.mark.parametrize(
    ("point", "people"),
    [
        ("relay.after_publish", 1),
        ("dispatcher.after_plan", 1),
        ("dispatcher.after_plan", 50),
        ("dispatcher.mid_range", 50),
    ],
)
async def test_a_crash_loses_and_doubles_no_row(stage: Stage, point: str, people: int) -> None:
    audience = {"everyone": True} if people == 50 else {"users": ["u-1"]}
    event = await stage.planning.add_event(audience, channels=(Channel.EMAIL,))
    await stage.planning.owner.execute("UPDATE carillon.events SET owed_at = now()")
    async with stage.dispatcher(CARILLON_CRASH_AT=point, CARILLON_CRASH_AFTER_HITS="1") as process:
        assert await asyncio.wait_for(process.wait(), 30) == -signal.SIGKILL
    async with stage.dispatcher():
        await stage.status_is(event, "dispatched")
        found = await _work(stage.session, Channel.EMAIL, lane=Lane.NORMAL, deliveries=people)
    assert set(found) == {row["id"] for row in await stage.planning.rows(event)}
    assert await stage.planning.statuses(event) == {"queued": people}


async def test_the_broker_may_come_later(stage: Stage) -> None:
    event = await stage.planning.add_event({"users": ["u-1"]})
    await stage.planning.owner.execute("UPDATE carillon.events SET owed_at = now()")
    async with stage.dispatcher(CARILLON_BROKER_URL="amqp://nobody:nothing@127.0.0.1:1/") as process:

        async def alive_and_red() -> bool:
            async with httpx2.AsyncClient(trust_env=False) as http:
                try:
                    live = await http.get(f"http://127.0.0.1:{stage.health_port}/livez")
                    ready = await http.get(f"http://127.0.0.1:{stage.health_port}/readyz?verbose")
                except httpx2.TransportError:
                    return False
            return live.status_code == 200 and ready.status_code == 503 and "no connection" in ready.text

        await eventually(alive_and_red, seconds=30, what="the dispatcher to be alive and not ready")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert (await stage.planning.event(event))["owed_at"] is not None
