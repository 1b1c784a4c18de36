"""`CARILLON_<CHANNEL>_ENABLED=false`: the channel is skipped for everybody, wherever the rules are asked."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import pytest
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.db.pool import Pool, open_pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from carillon_shared.settings import ServiceSettings
from support.migrated import MigratedDatabase
from support.planning import TYPE, Planning, planning_in

URLS = {"database_url": "postgresql://x", "broker_url": "amqp://x"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A tenant, and processes of which each has its own settings."""

    planning: Planning
    database: MigratedDatabase

    async def process(self, role: str, *, without: Iterable[Channel]) -> Pool:
        settings = ServiceSettings.model_validate(URLS | {f"{each.value}_enabled": False for each in without})
        return await open_pool(self.database.url(role), name="test", switched_off=settings.switched_off)


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    async with planning_in(migrated, people=1) as planning:
        yield Scene(planning, migrated)


@pytest.mark.parametrize("channel", Channel)
async def test_each_channel_has_its_switch(channel: Channel) -> None:
    assert ServiceSettings.model_validate(URLS).switched_off == ()
    off = ServiceSettings.model_validate(URLS | {f"{channel.value}_enabled": "false"})
    assert off.switched_off == (channel.value,)


async def test_a_dispatcher_plans_it_as_skipped_mandatory_or_not(scene: Scene) -> None:
    await scene.planning.add_type(TYPE, mandatory=True)
    dispatcher = await scene.process("carillon_dispatcher", without=[Channel.EMAIL, Channel.INAPP])
    event = await scene.planning.add_event({"everyone": True}, channels=list(Channel))
    await PlanStore(dispatcher, range_size=100).plan_events([event])
    await dispatcher.close()
    assert await scene.planning.decisions(event) == {
        ("u-1", Channel.INAPP): Reason.CHANNEL_DISABLED,
        ("u-1", Channel.EMAIL): Reason.CHANNEL_DISABLED,
        ("u-1", Channel.WHATSAPP): None,
    }


@pytest.mark.parametrize("off", [True, False])
async def test_a_worker_skips_what_was_planned_before(scene: Scene, *, off: bool) -> None:
    world = scene.planning.world
    event = await world.add_event()
    ids = await world.add_deliveries(event, world.people, Channel.EMAIL)
    worker = await scene.process(
        "carillon_email_worker", without=[Channel.EMAIL if off else Channel.WHATSAPP]
    )
    rows = await worker.fetch(
        "SELECT verdict FROM carillon.lease($1, '{1}', $2, $2, 7, 'test', 30)", ids, ids[0]
    )
    await worker.close()
    assert [row["verdict"] for row in rows] == ["skipped" if off else "leased"]
    reason = await world.pool.fetchval("SELECT reason FROM carillon.deliveries")
    assert reason == ("channel_disabled" if off else None)
