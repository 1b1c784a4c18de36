"""What the database refuses, whoever writes it: states that contradict their columns."""

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn
from uuid import UUID

import asyncpg
import pytest
from carillon_shared.broker.declare import declare
from carillon_shared.broker.outgoing import Outgoing
from carillon_shared.broker.session import BrokerSession
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.delivery.worker import ChannelWorker, run_worker
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import Shutdown
from carillon_shared.service import Service
from carillon_shared.topology.carillon import WORK, work_routing_key
from support.migrated import MigratedDatabase
from support.sending import ScriptedProvider
from support.waiting import eventually
from support.world import World, make_world


@pytest.fixture
async def world(migrated: MigratedDatabase) -> AsyncIterator[World]:
    pool = await migrated.pool()
    yield await make_world(pool, people=1)
    await pool.close()


async def _queued(world: World) -> UUID:
    event = await world.add_event()
    (delivery,) = await world.add_deliveries(event, world.people, Channel.EMAIL)
    return delivery


@pytest.mark.parametrize(
    "change",
    [
        "status = 'held'",
        "hold_reason = 'throttled'",
        "status = 'skipped'",
        "status = 'failed'",
        "status = 'dead'",
        "status = 'expired'",
        "status = 'cancelled'",
        "status = 'retrying'",
        "status = 'sending'",
        "attempt = -1",
    ],
)
async def test_a_delivery_has_what_its_state_needs(world: World, change: str) -> None:
    delivery = await _queued(world)
    with pytest.raises(asyncpg.CheckViolationError):
        await world.pool.execute(f"UPDATE carillon.deliveries SET {change} WHERE id = $1", delivery)


@pytest.mark.parametrize(
    ("number", "ended", "outcome"),
    [(1, "now() - interval '1 s'", "sent"), (0, "now()", "sent"), (1, "now()", "perhaps")],
)
async def test_an_attempt_is_numbered_ends_after_its_start_and_in_a_known_way(
    world: World, number: int, ended: str, outcome: str
) -> None:
    delivery = await _queued(world)
    with pytest.raises(asyncpg.CheckViolationError):
        await world.pool.execute(
            f"""INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, ended_at, outcome,
                provider) VALUES ($1, $2, $3, now(), {ended}, $4, 'smtp')""",
            delivery,
            number,
            world.tenant_id,
            outcome,
        )


async def test_a_cancelled_event_says_when(world: World) -> None:
    event = await world.add_event()
    with pytest.raises(asyncpg.CheckViolationError):
        await world.pool.execute("UPDATE carillon.events SET status = 'cancelled' WHERE id = $1", event)


async def test_a_fault_of_ours_is_kept_with_its_stack_and_dead_lettered(
    world: World, migrated: MigratedDatabase, broker_url: str
) -> None:
    def compose(delivery: LeasedDelivery) -> NoReturn:
        raise ZeroDivisionError("by zero")

    await declare(broker_url)
    delivery = await _queued(world)
    shutdown = Shutdown()
    worker = ChannelWorker(
        channel=Channel.EMAIL, compose=compose, provider=ScriptedProvider(), concurrency=2, attempt_limit=5
    )
    service = Service(database_url=migrated.url("carillon_email_worker"), broker_url=broker_url)
    running = asyncio.create_task(run_worker(worker, service, shutdown))
    async with BrokerSession(broker_url, name="test") as session:
        await session.publisher.wait_connected()
        await session.publisher.publish(_work(world, await _event_of(world, delivery), delivery))
        await eventually(lambda: _is_dead(world, delivery), seconds=20, what="the dead letter")
    shutdown.request()
    await running
    row = await world.pool.fetchrow("SELECT * FROM carillon.attempts WHERE delivery_id = $1", delivery)
    assert row is not None
    assert (row["outcome"], row["code"], row["error"]) == (
        "rejected",
        "internal_error",
        "ZeroDivisionError: by zero",
    )
    assert "raise ZeroDivisionError" in row["stack"]


def _work(world: World, event: UUID, delivery: UUID) -> Outgoing:
    chunk = WorkChunk(
        event_id=event,
        tenant=world.slug,
        channel=Channel.EMAIL,
        lane=Lane.NORMAL,
        attempt=1,
        delivery_ids=[delivery],
    )
    return Outgoing(WORK.name, work_routing_key(Channel.EMAIL, Lane.NORMAL), chunk, str(delivery))


async def _event_of(world: World, delivery: UUID) -> UUID:
    event = await world.pool.fetchval("SELECT event_id FROM carillon.deliveries WHERE id = $1", delivery)
    return UUID(str(event))


async def _is_dead(world: World, delivery: UUID) -> bool:
    status = await world.pool.fetchval("SELECT status::text FROM carillon.deliveries WHERE id = $1", delivery)
    return bool(status == "dead")
