"""The in-app worker's statements and handler on a real database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest
from carillon_inapp_worker.feed import FeedStore
from carillon_inapp_worker.handler import FeedHandler
from carillon_shared.broker.incoming import Incoming
from carillon_shared.broker.outgoing import Outgoing
from carillon_shared.broker.publisher import PublishResult
from carillon_shared.clock import SystemClock
from carillon_shared.consumer.handling import Received
from carillon_shared.consumer.settlement import Ack
from carillon_shared.contracts.messages import DeadDelivery, LiveChunk, WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.delivery.moved import MovedLetters
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.world import World, make_world


@dataclass(slots=True)
class Announced:
    """Takes what would go to the broker."""

    messages: list[Outgoing] = field(default_factory=list)

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        self.messages += outgoings
        return [None] * len(outgoings)

    @property
    def live(self) -> list[LiveChunk]:
        return [one.message for one in self.messages if isinstance(one.message, LiveChunk)]


@dataclass(slots=True)
class Desk:
    """A handler on a migrated database."""

    world: World
    handler: FeedHandler
    announced: Announced

    async def deliver(self, *chunks: tuple[UUID, Sequence[UUID]]) -> None:
        batch = [Received(_chunk(self.world, event, ids), _incoming()) for event, ids in chunks]
        assert await self.handler(batch) == [Ack()] * len(batch)

    async def feeds(self) -> list[tuple[int, int, int]]:
        rows = await self.world.pool.fetch(
            "SELECT seq, unread, unseen FROM carillon.feeds ORDER BY subscriber"
        )
        return [(row["seq"], row["unread"], row["unseen"]) for row in rows]

    async def sequences(self) -> list[list[int]]:
        rows = await self.world.pool.fetch(
            "SELECT array_agg(seq ORDER BY seq) AS s FROM carillon.feed_items GROUP BY subscriber"
        )
        return [list(row["s"]) for row in rows]


def _chunk(world: World, event: UUID, ids: Sequence[UUID]) -> WorkChunk:
    return WorkChunk(
        event_id=event,
        tenant=world.slug,
        channel=Channel.INAPP,
        lane=Lane.NORMAL,
        attempt=1,
        delivery_ids=list(ids),
    )


def _incoming() -> Incoming:
    return Incoming(
        body=b"",
        type=WorkChunk.TYPE,
        message_id="m",
        headers={},
        exchange="carillon.work",
        routing_key="inapp.normal",
        redelivered=False,
        published_at=datetime.now(UTC),
        delivery_tag=1,
        generation=1,
    )


@pytest.fixture
async def pools(migrated: MigratedDatabase) -> AsyncIterator[tuple[Pool, Pool]]:
    owner, worker = await migrated.pool(), await migrated.pool("carillon_inapp_worker")
    yield owner, worker
    await worker.close()
    await owner.close()


@pytest.fixture
async def desk(pools: tuple[Pool, Pool]) -> Desk:
    owner, worker = pools
    announced = Announced()
    handler = FeedHandler(
        feed=FeedStore(worker),
        catalogue=Catalogue(worker, channel=Channel.INAPP, clock=SystemClock()),
        publisher=announced,
        moved=MovedLetters(worker),
    )
    return Desk(await make_world(owner, people=3), handler, announced)


async def test_two_events_for_one_person_in_a_batch_get_consecutive_numbers(desk: Desk) -> None:
    events = [await desk.world.add_event(channels=[Channel.INAPP]) for _ in range(4)]
    work = [
        (event, await desk.world.add_deliveries(event, desk.world.people, Channel.INAPP)) for event in events
    ]
    await desk.deliver(*work)
    assert await desk.feeds() == [(4, 4, 4)] * 3
    assert await desk.sequences() == [[1, 2, 3, 4]] * 3
    frames = [frame for chunk in desk.announced.live for frame in chunk.frames]
    assert sorted((frame.subscriber, frame.seq, frame.unread) for frame in frames) == sorted(
        (f"u-{n}", seq, seq) for n in (1, 2, 3) for seq in (1, 2, 3, 4)
    )
    for chunk in desk.announced.live:  # what everybody gets alike is sent once
        assert len(chunk.tails) == 1


async def test_the_same_message_twice_writes_once_and_leaves_no_hole(desk: Desk) -> None:
    event = await desk.world.add_event(channels=[Channel.INAPP])
    ids = await desk.world.add_deliveries(event, desk.world.people, Channel.INAPP)
    await desk.deliver((event, ids))
    await desk.deliver((event, ids), (event, ids[:1]))
    assert await desk.feeds() == [(1, 1, 1)] * 3
    assert len(desk.announced.live) == 1
    other = await desk.world.add_event(channels=[Channel.INAPP])
    await desk.deliver((other, await desk.world.add_deliveries(other, desk.world.people, Channel.INAPP)))
    assert await desk.sequences() == [[1, 2]] * 3


async def test_the_same_delivery_twice_in_one_batch_writes_once(desk: Desk) -> None:
    event = await desk.world.add_event(channels=[Channel.INAPP])
    ids = await desk.world.add_deliveries(event, desk.world.people, Channel.INAPP)
    await desk.deliver((event, ids), (event, ids))
    assert sum(len(chunk.frames) for chunk in desk.announced.live) == 3
    assert await desk.feeds() == [(1, 1, 1)] * 3
    assert await desk.sequences() == [[1]] * 3


async def test_who_opted_out_meanwhile_gets_nothing_and_uses_no_number(desk: Desk) -> None:
    event = await desk.world.add_event(channels=[Channel.INAPP])
    ids = await desk.world.add_deliveries(event, desk.world.people, Channel.INAPP)
    await desk.world.pool.execute(
        "INSERT INTO carillon.preferences (tenant_id, subscriber, document) VALUES ($1, $2, $3)",
        desk.world.tenant_id,
        desk.world.people[1],
        {"types": {"message": {"inapp": False}}},
    )
    await desk.deliver((event, ids))
    assert await desk.world.statuses(event) == {"delivered": 2, "skipped": 1}
    assert await desk.feeds() == [(1, 1, 1)] * 2


async def test_a_broken_template_is_dead_for_everybody_it_concerns(desk: Desk) -> None:
    event = await desk.world.add_event(channels=[Channel.INAPP], data={"title": "no body"})
    ids = await desk.world.add_deliveries(event, desk.world.people, Channel.INAPP)
    await desk.deliver((event, ids))
    assert await desk.world.statuses(event) == {"dead": 3}
    dead = [one.message for one in desk.announced.messages if isinstance(one.message, DeadDelivery)]
    assert {one.delivery_id for one in dead} == set(ids)
    rows = await desk.world.pool.fetch("SELECT reason::text, error FROM carillon.dead_letters")
    assert {row["reason"] for row in rows} == {"template_error"}
    assert "body" in rows[0]["error"]
    assert await desk.feeds() == []
