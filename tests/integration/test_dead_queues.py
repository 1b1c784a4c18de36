"""The dead queues agree with the database: what is over leaves, what waits for a person stays."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from carillon_dispatcher.sweepers.dead_queues import DeadQueue, DeadQueues
from carillon_dispatcher.sweepers.walking import QueueWalk
from carillon_shared.broker import BrokerSession, Outgoing, declare
from carillon_shared.clock import SystemClock
from carillon_shared.consumer.source import MessageSource
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import DeadDelivery, EventAccepted, Message, WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import DEAD, dead_queue, work_queue
from support.broker_queues import plain_channel
from support.dead_letters import Graveyard
from support.migrated import MigratedDatabase
from support.waiting import eventually
from support.world import make_world

QUEUE = dead_queue(Channel.EMAIL)
KEY = "email.normal"
SEGMENT = 3  # messages in hand on one broker channel: a walk needs more than one


@dataclass(slots=True)
class Scene:
    """A broker's dead queue, the dead letters of one tenant, and who keeps them in step."""

    url: str
    session: BrokerSession
    graves: Graveyard
    dispatcher: Pool

    def copy(self, delivery: UUID, event: UUID, *, attempt: int = 3) -> DeadDelivery:
        return DeadDelivery(
            event_id=event,
            tenant="acme",
            channel=Channel.EMAIL,
            lane=Lane.NORMAL,
            delivery_id=delivery,
            attempt=attempt,
            reason="provider_rejected",
        )

    def work(self, event: UUID, ids: list[UUID], *, isolated: bool = False) -> WorkChunk:
        return WorkChunk(
            event_id=event,
            tenant="acme",
            channel=Channel.EMAIL,
            lane=Lane.NORMAL,
            attempt=1,
            delivery_ids=ids,
            isolated=isolated,
        )

    async def put(self, *messages: Message) -> None:
        """Put these into the dead queue."""
        outgoings = [Outgoing(DEAD.name, KEY, message, str(uuid4())) for message in messages]
        assert await self.session.publisher.publish_many(outgoings) == [None] * len(messages)

    @asynccontextmanager
    async def dead_queue(self) -> AsyncIterator[DeadQueue]:
        """Give what keeps the queue in step, as the dispatcher makes it."""
        sources: list[MessageSource] = []

        def open_source() -> MessageSource:
            sources.append(MessageSource(self.session.subscribe(QUEUE, prefetch=SEGMENT)))
            return sources[-1]

        walk = QueueWalk(open_source, most=SEGMENT)
        yield DeadQueue(walk, self.dispatcher, self.session.publisher, channel=Channel.EMAIL)
        for source in sources:
            await source.close()

    async def tidy(self) -> int:
        async with self.dead_queue() as queue:
            return await queue.tidy()

    async def held(self, queue: str = QUEUE) -> list[Message]:
        """Take everything out of a queue."""
        found: list[Message] = []
        async with plain_channel(self.url) as channel:
            declared = await channel.get_queue(queue)

            async def take() -> bool:
                message = await declared.get(fail=False, no_ack=True)
                if message is not None:
                    found.append(decode(message.type, message.body))
                return message is None

            await eventually(take, seconds=10, what=f"{queue} to be empty")
        return found


@pytest.fixture
async def scene(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Scene]:
    await declare(broker_url)
    owner = await migrated.pool()
    dispatcher = await migrated.pool("carillon_dispatcher", max_size=2)
    graves = Graveyard(await make_world(owner, people=5))
    async with BrokerSession(broker_url, name="test") as session:

        async def can_publish() -> bool:
            return session.publisher.connected

        await eventually(can_publish, seconds=10, what="the publisher to be connected")
        yield Scene(broker_url, session, graves, dispatcher)
    await dispatcher.close()
    await owner.close()


async def test_copies_that_the_database_no_longer_calls_dead_are_removed(scene: Scene) -> None:
    event, (dead, replayed, discarded) = await scene.graves.bury(people=3)
    for identifier, status in ((replayed, "queued"), (discarded, "discarded")):
        await scene.graves.world.pool.execute(
            "UPDATE carillon.deliveries SET status = $2::text::carillon.delivery_status WHERE id = $1",
            identifier,
            status,
        )
    stays = scene.copy(dead, event)
    await scene.put(
        scene.copy(dead, event, attempt=2),  # of an attempt before the last replay
        stays,
        scene.copy(replayed, event),
        scene.copy(discarded, event),
        scene.copy(uuid4(), event),  # retention has dropped its row
    )
    assert await scene.tidy() == 4
    assert await scene.held() == [stays]


async def test_each_message_is_looked_at_once_a_pass(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=5)
    await scene.put(*(scene.copy(one, event) for one in ids))
    assert [await scene.tidy() for _ in range(3)] == [0, 0, 0]
    kept = await scene.held()
    assert len(kept) == 5
    assert {one.delivery_id for one in kept if isinstance(one, DeadDelivery)} == set(ids)


async def test_work_that_was_given_up_is_sent_again_each_delivery_alone(scene: Scene) -> None:
    world = scene.graves.world
    event = await world.add_event()
    ids = await world.add_deliveries(event, world.people[:3], Channel.EMAIL)
    await world.pool.execute(
        "UPDATE carillon.deliveries SET status = 'sent', attempt = 1 WHERE id = $1", ids[0]
    )
    await scene.put(scene.work(event, ids))
    assert await scene.tidy() == 1
    assert await scene.held() == []
    again = await scene.held(work_queue(Channel.EMAIL, Lane.NORMAL))
    assert [(one.delivery_ids, one.isolated, one.attempt) for one in again if isinstance(one, WorkChunk)] == [
        ([ids[1]], True, 1),
        ([ids[2]], True, 1),
    ]


async def test_what_fails_alone_is_dead_on_both_sides(scene: Scene) -> None:
    world = scene.graves.world
    event = await world.add_event()
    (one,) = await world.add_deliveries(event, world.people[:1], Channel.EMAIL)
    await scene.put(scene.work(event, [one], isolated=True))
    assert await scene.tidy() == 1
    row = await scene.graves.delivery(one)
    assert (row["status"], row["reason"], row["attempt"]) == ("dead", "poison", 1)
    letter = await world.pool.fetchrow("SELECT * FROM carillon.dead_letters")
    assert letter is not None
    assert (letter["delivery_id"], letter["reason"], letter["event_type"]) == (one, "poison", "message")
    (copy,) = await scene.held()
    assert isinstance(copy, DeadDelivery)
    assert (copy.delivery_id, copy.attempt, copy.reason) == (one, 1, "poison")


async def test_a_copy_that_a_crash_kept_from_being_published_is_made_up_for(scene: Scene) -> None:
    world = scene.graves.world
    event = await world.add_event()
    (one,) = await world.add_deliveries(event, world.people[:1], Channel.EMAIL)
    await scene.put(scene.work(event, [one], isolated=True))
    await scene.tidy()
    await scene.held()
    await scene.put(scene.work(event, [one], isolated=True))  # as if it had not been acked
    await scene.tidy()
    (copy,) = await scene.held()
    assert isinstance(copy, DeadDelivery)
    assert await scene.graves.count("dead_letters") == 1


async def test_what_nobody_can_read_waits_for_a_person(scene: Scene) -> None:
    stranger = EventAccepted(event_id=uuid4(), tenant="acme", event_type="x", lane=Lane.NORMAL)
    await scene.put(stranger)
    assert await scene.tidy() == 0
    assert await scene.held() == [stranger]


async def test_a_pass_runs_when_its_time_has_come_or_somebody_asks(scene: Scene) -> None:
    over = scene.copy(uuid4(), await scene.graves.world.add_event())
    async with scene.dead_queue() as queue:
        queues = DeadQueues([queue], interval=3600, clock=SystemClock())
        await scene.put(over)
        await queues.sweep()
        assert await scene.held() == [over]
        await scene.put(over)
        queues.ask()
        await queues.sweep()
        assert await scene.held() == []
