"""Suppressed addresses and people: planning, leasing, release and replay each look, by the same rule."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from support.migrated import MigratedDatabase
from support.planning import TYPE, Planning, planning_in
from support.world import World, make_world

_ADD = """
    INSERT INTO carillon.suppressions (tenant_id, target, channel, reason, expires_at)
    VALUES ($1, carillon.address_digest($2), $3::text::carillon.channel, 'bounced',
            now() + make_interval(secs => $4))
"""
_LEASE = "SELECT id, verdict FROM carillon.lease($1, '{1}', $2, $3, 7, 'test', 30)"


@dataclass(frozen=True, slots=True)
class Scene:
    """Two people with queued mail, and the worker that would send it."""

    world: World
    worker: Pool

    async def suppress(self, address: str, channel: Channel = Channel.EMAIL, seconds: float = 60) -> None:
        await suppress(self.world, address, channel, seconds)

    async def queued(self) -> list[UUID]:
        event = await self.world.add_event()
        return await self.world.add_deliveries(event, self.world.people, Channel.EMAIL)

    async def lease(self, ids: list[UUID]) -> list[str]:
        rows = await self.worker.fetch(_LEASE, ids, min(ids), max(ids))
        verdicts = {row["id"]: row["verdict"] for row in rows}
        return [verdicts[each] for each in ids]


async def suppress(world: World, address: str, channel: Channel, seconds: float) -> None:
    await world.pool.execute(_ADD, world.tenant_id, address, channel.value, seconds)


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner, worker = await migrated.pool(), await migrated.pool("carillon_email_worker")
    yield Scene(await make_world(owner, people=2), worker)
    await worker.close()
    await owner.close()


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=2) as made:
        yield made


async def test_an_address_suppressed_after_planning_is_not_sent_to(scene: Scene) -> None:
    ids = await scene.queued()
    await scene.suppress("U-1@example.org")
    assert await scene.lease(ids) == ["skipped", "leased"]
    rows = await scene.world.pool.fetch("SELECT status, reason FROM carillon.deliveries ORDER BY id")
    assert [(row["status"], row["reason"]) for row in rows] == [("skipped", "suppressed"), ("sending", None)]


@pytest.mark.parametrize(
    ("address", "channel", "seconds"),
    [
        ("u-1@example.org", Channel.EMAIL, -1),  # over
        ("u-1@example.org", Channel.WHATSAPP, 60),  # another channel
        ("+12025550001", Channel.WHATSAPP, 60),
        ("u-3@example.org", Channel.EMAIL, 60),  # nobody's
    ],
)
async def test_what_is_over_or_of_another_channel_or_address_holds_nothing_back(
    scene: Scene, address: str, channel: Channel, seconds: float
) -> None:
    ids = await scene.queued()
    await scene.suppress(address, channel, seconds)
    assert await scene.lease(ids) == ["leased", "leased"]


async def test_a_suppression_is_its_tenant_s_own(scene: Scene) -> None:
    other = await make_world(scene.world.pool, slug="other")
    await suppress(other, "u-1@example.org", Channel.EMAIL, 60)
    assert await scene.lease(await scene.queued()) == ["leased", "leased"]


async def test_it_holds_for_mandatory_events_too_and_comes_after_the_address(planning: Planning) -> None:
    await planning.add_type(TYPE, mandatory=True)
    await suppress(planning.world, "u-1@example.org", Channel.EMAIL, 60)
    await planning.owner.execute("UPDATE carillon.subscribers SET email = NULL WHERE id = 'u-2'")
    event = await planning.add_event({"everyone": True}, channels=[Channel.EMAIL, Channel.WHATSAPP])
    await planning.plan(event)
    assert await planning.decisions(event) == {
        ("u-1", Channel.EMAIL): Reason.SUPPRESSED,
        ("u-1", Channel.WHATSAPP): None,
        ("u-2", Channel.EMAIL): Reason.NO_ADDRESS,
        ("u-2", Channel.WHATSAPP): None,
    }


async def test_what_was_held_meanwhile_is_skipped_at_its_release(planning: Planning) -> None:
    event = await planning.world.add_event()
    ids = await planning.world.add_deliveries(event, planning.world.people, Channel.EMAIL)
    await planning.owner.execute(
        "UPDATE carillon.deliveries SET status = 'held', hold_reason = 'throttled', next_attempt_at = now()"
    )
    await planning.owner.execute(
        "INSERT INTO carillon.due (delivery_id, due_at, kind) SELECT unnest($1::uuid[]), now(), 'hold'", ids
    )
    await suppress(planning.world, "u-2@example.org", Channel.EMAIL, 60)
    released = await planning.dispatcher.fetch("SELECT delivery_id FROM carillon.release_holds(10, 30)")
    assert [row["delivery_id"] for row in released] == [ids[0]]
    reason = await planning.owner.fetchval("SELECT reason FROM carillon.deliveries WHERE id = $1", ids[1])
    assert reason == "suppressed"


async def test_a_replay_skips_it_unless_the_address_is_put_right(scene: Scene) -> None:
    ids = await scene.queued()
    await scene.world.pool.execute("UPDATE carillon.deliveries SET status = 'dead', reason = 'poison'")
    await scene.suppress("u-1@example.org")
    skips = "SELECT delivery_id, skip FROM carillon.replay_skips($1, $2, $3, $4) ORDER BY 1"
    rows = await scene.world.pool.fetch(skips, ids, min(ids), max(ids), None)
    assert [row["skip"] for row in rows] == ["suppressed", None]
    corrected = {"address": {"email": "new@example.org"}}
    rows = await scene.world.pool.fetch(skips, ids, min(ids), max(ids), corrected)
    assert [row["skip"] for row in rows] == [None, None]
