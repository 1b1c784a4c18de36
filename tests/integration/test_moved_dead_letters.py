"""A dead letter moved to its work queue with the broker's own tools is a replay, with all its checks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from carillon_dispatcher.sweepers.moved import MovedDeadLetters
from carillon_inapp_worker.feed import FeedStore
from carillon_inapp_worker.handler import FeedHandler
from carillon_shared.broker import BrokerSession, Outgoing, declare
from carillon_shared.clock import SystemClock
from carillon_shared.consumer import Ack
from carillon_shared.contracts.messages import DeadDelivery
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.delivery.worker import ChannelWorker, run_worker
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service
from carillon_shared.topology.carillon import WORK
from support.dead_letters import Graveyard
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher, received
from support.sending import ScriptedProvider, as_it_is
from support.waiting import eventually
from support.world import make_world


@dataclass(slots=True)
class Scene:
    """Dead letters, what workers may do, and a dispatcher."""

    graves: Graveyard
    worker: Pool
    dispatcher: Pool
    publisher: RecordingPublisher

    async def moved(self, event: UUID, *ids: UUID, attempt: int = 3) -> None:
        messages = [copy(event, one, attempt=attempt) for one in ids]
        await MovedLetters(self.worker).note("carillon.email.normal", messages)

    async def sweep(self) -> int:
        return await MovedDeadLetters(self.dispatcher, self.publisher).sweep()

    async def audit(self) -> list[tuple[str, str, str, str | None]]:
        rows = await self.graves.world.pool.fetch("SELECT * FROM carillon.audit_log ORDER BY id")
        return [(row["actor"], row["action"], row["target"], row["details"].get("refused")) for row in rows]


def copy(event: UUID, delivery: UUID, *, attempt: int = 3, channel: Channel = Channel.EMAIL) -> DeadDelivery:
    return DeadDelivery(
        event_id=event,
        tenant="acme",
        channel=channel,
        lane=Lane.NORMAL,
        delivery_id=delivery,
        attempt=attempt,
        reason="provider_rejected",
    )


@asynccontextmanager
async def _running(
    worker: ChannelWorker[LeasedDelivery], service: Service, shutdown: Shutdown
) -> AsyncIterator[None]:
    task = asyncio.create_task(run_worker(worker, service, shutdown))
    try:
        yield
    finally:
        shutdown.request()
        await task


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    worker = await migrated.pool("carillon_inapp_worker", max_size=1)
    dispatcher = await migrated.pool("carillon_dispatcher", max_size=2)
    yield Scene(Graveyard(await make_world(owner, people=5)), worker, dispatcher, RecordingPublisher())
    for pool in (worker, dispatcher, owner):
        await pool.close()


async def test_what_was_moved_is_sent_again_and_the_audit_names_the_broker(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=2)
    await scene.moved(event, *ids)
    await scene.moved(event, *ids)  # the worker was given it twice
    assert await scene.sweep() == 2
    assert await scene.sweep() == 0
    (chunk,) = scene.publisher.chunks()
    assert (sorted(chunk.delivery_ids), chunk.attempt, chunk.lane) == (sorted(ids), 4, "bulk")
    assert sorted(await scene.audit()) == sorted(
        ("broker", "delivery.replayed", str(one), None) for one in ids
    )
    assert await scene.graves.count("dead_letters") == 0


async def test_what_must_not_go_out_again_gets_its_copy_back(scene: Scene) -> None:
    event, (one,) = await scene.graves.bury()
    await scene.graves.world.pool.execute("UPDATE carillon.subscribers SET email = NULL")
    await scene.moved(event, one)
    await scene.sweep()
    assert [outgoing.message for outgoing in scene.publisher.published] == [copy(event, one)]
    assert await scene.audit() == [("broker", "delivery.replay_refused", str(one), "no_address")]
    assert (await scene.graves.delivery(one))["status"] == "dead"


async def test_an_old_copy_does_nothing_and_is_told(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=2)
    await scene.graves.world.pool.execute(
        "UPDATE carillon.deliveries SET status = 'sent', reason = NULL WHERE id = $1", ids[0]
    )
    await scene.moved(event, ids[0])
    await scene.moved(event, ids[1], attempt=2)
    await scene.moved(event, uuid4())  # retention has dropped its row
    assert await scene.sweep() == 3
    assert scene.publisher.published == []
    assert sorted(await scene.audit()) == sorted(
        ("broker", "delivery.replay_refused", str(one), "no_longer_dead") for one in ids
    )


async def test_the_feed_worker_hands_over_what_was_moved_to_it(scene: Scene) -> None:
    event, (one,) = await scene.graves.bury(channel=Channel.INAPP)
    handler = FeedHandler(
        feed=FeedStore(scene.worker),
        catalogue=Catalogue(scene.worker, channel=Channel.INAPP, clock=SystemClock()),
        publisher=scene.publisher,
        moved=MovedLetters(scene.worker),
    )
    assert await handler(received(copy(event, one, channel=Channel.INAPP))) == [Ack()]
    assert await scene.sweep() == 1
    assert scene.publisher.delivery_ids() == [one]


async def test_a_worker_with_a_provider_hands_over_what_was_moved_to_it(
    scene: Scene, migrated: MigratedDatabase, broker_url: str
) -> None:
    await declare(broker_url)
    event, (one,) = await scene.graves.bury()
    provider, shutdown = ScriptedProvider(), Shutdown()
    worker = ChannelWorker(
        channel=Channel.EMAIL, compose=as_it_is, provider=provider, concurrency=4, attempt_limit=5.0
    )
    service = Service(database_url=migrated.url("carillon_email_worker"), broker_url=broker_url)
    async with BrokerSession(broker_url, name="test") as session, _running(worker, service, shutdown):
        await session.publisher.wait_connected()
        await session.publisher.publish(Outgoing(WORK.name, "email.normal", copy(event, one), "moved"))

        async def noted() -> bool:
            return await scene.graves.count("moved_dead_letters") == 1

        await eventually(noted, seconds=30, what="the worker to note it")
    assert await scene.graves.count("poison_messages") == 0
