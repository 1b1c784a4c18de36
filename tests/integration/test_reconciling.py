"""Dead queues compared with the database, and mended: whatever the queue says, the rows decide."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from carillon_dispatcher.sweepers.dead_copies import copy_of
from carillon_dispatcher.sweepers.dead_queues import DeadQueue
from carillon_dispatcher.sweepers.reconciling import Reconciliations
from carillon_dispatcher.sweepers.walking import QueueWalk
from carillon_shared.broker import BrokerSession, declare
from carillon_shared.consumer.source import MessageSource
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import DeadDelivery, Message
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import dead_queue
from support.broker_queues import plain_channel
from support.dead_letters import Graveyard
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.waiting import eventually
from support.world import World, make_world

QUEUE = dead_queue(Channel.EMAIL)
RECONCILE = "/v1/admin/dead-letters:reconcile"
SEGMENT = 100  # messages in hand on one broker channel
NOTHING = {"agreed": 0, "stale": 0, "duplicate": 0, "missing": 0}


@dataclass(slots=True)
class Scene:
    """An operator, dead letters, the dead queue of e-mail, and a dispatcher."""

    url: str
    operator: Producer
    graves: Graveyard
    session: BrokerSession
    dispatcher: Pool

    def reconciliations(self) -> Reconciliations:
        def open_source() -> MessageSource:
            return MessageSource(self.session.subscribe(QUEUE, prefetch=SEGMENT))

        walk = QueueWalk(open_source, most=SEGMENT, quiet=0.5)
        queue = DeadQueue(walk, self.dispatcher, self.session.publisher, channel=Channel.EMAIL)
        return Reconciliations([queue], self.dispatcher, self.session.publisher)

    async def reconcile(self, **body: Any) -> dict[str, Any]:
        """Ask for it, carry it out, and return the operation."""
        reply = await self.operator.call("POST", RECONCILE, json=body)
        assert reply.status_code == 202, reply.text
        operation = reply.json()["operation_id"]
        assert await self.reconciliations().sweep() == 1
        found: dict[str, Any] = (await self.operator.get(f"/v1/admin/operations/{operation}")).json()
        assert found["status"] == "done", found
        return found

    async def put(self, event: UUID, ids: list[UUID], *, attempt: int = 3, tenant: str = "acme") -> None:
        """Put copies into the dead queue."""
        copies = [
            DeadDelivery(
                event_id=event,
                tenant=tenant,
                channel=Channel.EMAIL,
                lane=Lane.NORMAL,
                delivery_id=one,
                attempt=attempt,
                reason="provider_rejected",
            )
            for one in ids
        ]
        results = await self.session.publisher.publish_many([copy_of(copy) for copy in copies])
        assert results == [None] * len(ids)

    async def held(self) -> list[tuple[UUID, int]]:
        """Take everything out of the queue."""
        found: list[Message] = []
        async with plain_channel(self.url) as channel:
            declared = await channel.get_queue(QUEUE)

            async def take() -> bool:
                message = await declared.get(fail=False, no_ack=True)
                if message is not None:
                    found.append(decode(message.type, message.body))
                return message is None

            await eventually(take, seconds=30, what="the queue to be empty")
        return sorted((one.delivery_id, one.attempt) for one in found if isinstance(one, DeadDelivery))


@pytest.fixture
async def scene(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Scene]:
    await declare(broker_url)
    owner = await migrated.pool()
    dispatcher = await migrated.pool("carillon_dispatcher", max_size=3)
    async with (
        open_api(migrated.url("carillon_api")) as api,
        BrokerSession(broker_url, name="test") as session,
    ):
        await session.publisher.wait_connected()
        operator = await make_producer(api, owner, "acme", scopes=("operator",))
        world = World(owner, operator.tenant_id, "acme")
        await world.add_people(5)
        yield Scene(broker_url, operator, Graveyard(world), session, dispatcher)
    await dispatcher.close()
    await owner.close()


async def test_every_difference_is_mended_and_told(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=5)
    await scene.put(event, ids[:3])
    await scene.put(event, ids[:1])  # again
    await scene.put(event, ids[:1], attempt=2)  # of an attempt before a replay
    await scene.put(event, [uuid4()])
    found = await scene.reconcile(reason="somebody was here")
    assert found["report"] == {"email": {"agreed": 3, "stale": 2, "duplicate": 1, "missing": 2}}
    assert (found["kind"], found["acted"], found["skipped"]) == ("reconcile", 5, {"agreed": 3})
    again = await scene.reconcile()
    assert again["report"] == {"email": NOTHING | {"agreed": 5}}
    assert await scene.held() == [(one, 3) for one in sorted(ids)]
    told = (await scene.operator.get("/v1/admin/audit", params={"action": "operation.done"})).json()["data"]
    assert [entry["details"]["report"]["email"]["missing"] for entry in told] == [0, 2]


async def test_a_purged_queue_is_built_anew(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=5)
    await scene.put(event, ids)
    async with plain_channel(scene.url) as channel:
        await (await channel.get_queue(QUEUE)).purge()
    assert (await scene.reconcile(channel="email"))["report"] == {"email": NOTHING | {"missing": 5}}
    assert await scene.held() == [(one, 3) for one in sorted(ids)]


async def test_a_dry_run_tells_the_same_and_changes_nothing(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=3)
    strange = uuid4()
    await scene.put(event, [ids[0], ids[0], strange])
    expected = {"email": {"agreed": 1, "stale": 1, "duplicate": 1, "missing": 2}}
    for _ in range(2):
        found = await scene.reconcile(dry_run=True)
        assert (found["report"], found["dry_run"]) == (expected, True)
    assert await scene.held() == sorted([(ids[0], 3), (ids[0], 3), (strange, 3)])


async def test_more_copies_than_one_channel_holds_are_all_compared(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=1)
    await scene.put(event, [uuid4() for _ in range(2 * SEGMENT)])
    await scene.put(event, ids)
    await scene.put(event, [uuid4() for _ in range(SEGMENT)])
    for _ in range(2 * SEGMENT + 20):
        await scene.put(event, ids)  # these stay in hand in a dry run
    found = await scene.reconcile(dry_run=True)
    stale, duplicate = 3 * SEGMENT, 2 * SEGMENT + 20
    assert found["report"]["email"] == NOTHING | {"agreed": 1, "stale": stale, "duplicate": duplicate}
    await scene.reconcile()
    assert await scene.held() == [(ids[0], 3)]


async def test_another_tenants_copies_are_mended_and_not_told(scene: Scene) -> None:
    other = Graveyard(await make_world(scene.graves.world.pool, slug="other", people=1))
    event, ids = await other.bury()
    await scene.put(event, [uuid4()], tenant="other")
    assert (await scene.reconcile())["report"] == {"email": NOTHING}
    assert await scene.held() == [(ids[0], 3)]


async def test_a_reconciliation_whose_dispatcher_died_begins_again(scene: Scene) -> None:
    _, ids = await scene.graves.bury(people=2)
    reply = await scene.operator.call("POST", RECONCILE, json={})
    pool = scene.graves.world.pool
    await pool.execute("UPDATE carillon.operations SET next_at = now() + interval '30 seconds'")
    assert await scene.reconciliations().sweep() == 0  # it may still be at it
    await pool.execute("UPDATE carillon.operations SET next_at = now()")
    assert await scene.reconciliations().sweep() == 1
    found = (await scene.operator.get(f"/v1/admin/operations/{reply.json()['operation_id']}")).json()
    assert found["report"] == {"email": NOTHING | {"missing": 2}}
    assert await scene.held() == [(one, 3) for one in sorted(ids)]


async def test_a_queue_that_is_taken_is_left_for_later(scene: Scene) -> None:
    await scene.operator.call("POST", RECONCILE, json={})
    pool = scene.graves.world.pool
    async with pool.acquire() as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('carillon.dead'), hashtext('email'))")
        assert await scene.reconciliations().sweep() == 0
    assert await pool.fetchval("SELECT status FROM carillon.operations") == "running"
