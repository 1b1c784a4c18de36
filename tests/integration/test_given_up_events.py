"""What the broker or planning gave up is owed again or marked, and is never lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from carillon_dispatcher.given_up import MOST_DEATHS, WHY, GivenUpHandler
from carillon_shared.consumer import Ack, Received
from carillon_shared.contracts.messages import DeadDelivery, EventAccepted, RangePlanned, WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher, received
from support.world import World, make_world


@dataclass(slots=True)
class Scene:
    """An event that is on its way to be planned, and the handler of what was given up."""

    world: World
    handler: GivenUpHandler
    publisher: RecordingPublisher
    event: UUID

    async def take(self, *messages: Any, why: str = "delivery_limit") -> None:
        batch = [_dead(one, why) for one in received(*messages)]
        assert await self.handler(batch) == [Ack()] * len(batch)

    async def row(self) -> Any:
        return await self.world.pool.fetchrow("SELECT * FROM carillon.events WHERE id = $1", self.event)

    async def poison(self) -> list[str]:
        rows = await self.world.pool.fetch("SELECT error FROM carillon.poison_messages ORDER BY id")
        return [row["error"] for row in rows]

    def accepted(self) -> EventAccepted:
        return EventAccepted(event_id=self.event, tenant="acme", event_type="message", lane=Lane.NORMAL)


def _dead(one: Received, why: str) -> Received:
    return Received(one.message, replace(one.incoming, headers={"x-first-death-reason": why}))


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    dispatcher: Pool = await migrated.pool("carillon_dispatcher", max_size=2)
    world, publisher = await make_world(owner, people=3), RecordingPublisher()
    event = await world.add_event()
    await owner.execute("UPDATE carillon.events SET status = 'accepted' WHERE id = $1", event)
    yield Scene(world, GivenUpHandler(dispatcher, publisher), publisher, event)
    await dispatcher.close()
    await owner.close()


async def test_an_event_that_the_broker_gave_up_is_owed_again(scene: Scene) -> None:
    await scene.take(scene.accepted())
    row = await scene.row()
    assert row["owed_at"] is not None
    assert (row["plan_deaths"], row["plan_error"]) == (1, None)
    assert await scene.poison() == []


async def test_one_that_dies_again_and_again_is_marked_and_shown(scene: Scene) -> None:
    for _ in range(MOST_DEATHS):
        await scene.take(scene.accepted())
        assert (await scene.row())["owed_at"] is not None
    await scene.take(scene.accepted())
    row = await scene.row()
    assert (row["owed_at"], row["plan_error"], row["status"]) == (None, WHY, "accepted")
    assert len(await scene.poison()) == 1


async def test_an_event_that_planning_refused_stays_as_it_was_marked(scene: Scene) -> None:
    await scene.world.pool.execute("UPDATE carillon.events SET plan_error = 'no such rule'")
    await scene.take(scene.accepted(), why="rejected")
    row = await scene.row()
    assert (row["owed_at"], row["plan_error"], row["plan_deaths"]) == (None, "no such rule", 0)
    assert len(await scene.poison()) == 1


async def test_a_refusal_that_nobody_wrote_down_is_owed_again(scene: Scene) -> None:
    await scene.take(scene.accepted(), why="rejected")
    assert (await scene.row())["owed_at"] is not None


async def test_an_event_that_is_published_meanwhile_is_left_alone(scene: Scene) -> None:
    await scene.world.pool.execute(
        "UPDATE carillon.events SET status = 'dispatched', planned_at = now(), published_at = now()"
    )
    await scene.take(scene.accepted())
    assert (await scene.row())["owed_at"] is None


async def test_a_range_that_the_broker_gave_up_is_sent_again(scene: Scene) -> None:
    await scene.world.pool.execute("UPDATE carillon.events SET status = 'dispatching', ranges = 2")
    await scene.world.pool.execute(
        "INSERT INTO carillon.fanout_ranges (event_id, n, lo, hi) VALUES ($1, 0, 0, 1), ($1, 1, 1, 3)",
        scene.event,
    )
    message = RangePlanned(event_id=scene.event, n=1)
    await scene.take(message)
    assert [one.message for one in scene.publisher.published] == [message]
    assert (await scene.row())["owed_at"] is None
    for _ in range(MOST_DEATHS):
        await scene.take(message)
    assert len(scene.publisher.published) == MOST_DEATHS
    assert (await scene.row())["plan_error"] == WHY


async def test_strangers_are_kept_as_poison_and_dead_letters_are_replays(scene: Scene) -> None:
    work = WorkChunk(
        event_id=scene.event,
        tenant="acme",
        channel=Channel.EMAIL,
        lane=Lane.NORMAL,
        attempt=1,
        delivery_ids=[uuid4()],
    )
    letter = DeadDelivery(
        event_id=scene.event,
        tenant="acme",
        channel=Channel.EMAIL,
        lane=Lane.NORMAL,
        delivery_id=uuid4(),
        attempt=1,
        reason="poison",
    )
    await scene.take(work, letter, scene.accepted())
    assert await scene.poison() == ["does not belong to planning"]
    noted = await scene.world.pool.fetchval("SELECT delivery_id FROM carillon.moved_dead_letters")
    assert noted == letter.delivery_id
    assert (await scene.row())["owed_at"] is not None
