"""Operators pause and resume channels, and see what waits."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from carillon_dispatcher.sweepers.queue_meter import QueueMeter
from carillon_shared.broker.declare import declare
from carillon_shared.delivery.channel_control import PauseWatch
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import dispatch_queue, work_queue
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase

PAUSE, RESUME = "/v1/admin/channels/email:pause", "/v1/admin/channels/email:resume"
WHY = {"reason": "the relay is being moved"}


@dataclass(frozen=True, slots=True)
class Scene:
    """An API, its administrator and an operator of another tenant."""

    admin: Producer
    operator: Producer
    database: MigratedDatabase

    async def queues(self) -> dict[str, dict[str, object]]:
        reply = await self.operator.get("/v1/admin/queues")
        assert reply.status_code == 200, reply.text
        return {row["queue"]: row for row in reply.json()["queues"]}


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool("carillon_owner", max_size=2)
    async with open_api(migrated.url("carillon_api")) as api:
        yield Scene(
            await make_producer(api, owner, "house", scopes=("admin",)),
            await make_producer(api, owner, "guest", scopes=("operator",)),
            migrated,
        )
    await owner.close()


async def test_a_pause_says_who_when_and_why_and_twice_is_once(scene: Scene) -> None:
    first = await scene.admin.call("POST", PAUSE, json=WHY)
    again = await scene.admin.call("POST", PAUSE, json={"reason": "another"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    told = first.json()
    assert (told["channel"], told["paused"], told["reason"]) == ("email", True, WHY["reason"])
    assert told["paused_by"].startswith("key:")
    assert told["paused_at"] is not None
    for _ in range(2):
        reply = await scene.admin.call("POST", RESUME, json=WHY)
        assert (reply.status_code, reply.json()["paused"]) == (200, False)
    audit = (await scene.admin.get("/v1/admin/audit")).json()["data"]
    assert [(row["action"], row["target"]) for row in audit] == [
        ("channel.resumed", "email"),
        ("channel.paused", "email"),
    ]


async def test_a_tenants_operator_sees_a_pause_and_cannot_make_or_end_one(scene: Scene) -> None:
    for path in (PAUSE, RESUME):
        assert (await scene.operator.call("POST", path, json=WHY)).status_code == 403
    await scene.admin.call("POST", PAUSE, json=WHY)
    channels = (await scene.operator.get("/v1/admin/queues")).json()["channels"]
    assert {row["channel"]: row["paused"] for row in channels} == {
        "email": True,
        "whatsapp": False,
        "inapp": False,
    }


async def test_a_pause_needs_a_reason_and_a_channel_that_exists(scene: Scene) -> None:
    assert (await scene.admin.call("POST", PAUSE, json={})).status_code == 422
    assert (await scene.admin.call("POST", PAUSE, json={"reason": " "})).status_code == 422
    assert (await scene.admin.call("POST", "/v1/admin/channels/fax:pause", json=WHY)).status_code == 422


@pytest.mark.parametrize(
    "role", ["carillon_email_worker", "carillon_whatsapp_worker", "carillon_inapp_worker"]
)
async def test_every_worker_may_read_a_pause(scene: Scene, role: str) -> None:
    await scene.admin.call("POST", PAUSE, json=WHY)
    pool = await scene.database.pool(role, max_size=1)
    watch, other = PauseWatch(pool, channel=Channel.EMAIL), PauseWatch(pool, channel=Channel.WHATSAPP)
    await watch.begin()
    await other.begin()
    await pool.close()
    assert (watch.paused, other.paused) == (True, False)


async def test_queues_are_measured_for_operators(scene: Scene, broker_url: str) -> None:
    await declare(broker_url)
    pool = await scene.database.pool("carillon_dispatcher", max_size=1)
    queue = work_queue(Channel.EMAIL, Lane.NORMAL)
    await pool.execute("SELECT carillon.measure_queues($1, '{7}', '{0}')", [queue])
    await pool.execute("UPDATE carillon.queue_measurements SET empty_at = now() - interval '90 s'")
    await scene.admin.call("POST", PAUSE, json=WHY)
    row = (await scene.queues())[queue]
    assert (row["ready"], row["channel"], row["paused"]) == (7, "email", True)
    assert isinstance(row["oldest_age_seconds"], float)
    assert 90 <= row["oldest_age_seconds"] < 150
    meter = QueueMeter(broker_url, pool, queues=[queue, dispatch_queue(Lane.BULK), "carillon.no.such"])
    await meter.measure()
    await meter.close()
    found = await scene.queues()
    await pool.close()
    assert set(found) == {queue, dispatch_queue(Lane.BULK)}
    assert (found[queue]["ready"], found[queue]["oldest_age_seconds"]) == (0, 0.0)


async def test_the_oldest_message_is_no_older_than_the_newest_received(scene: Scene) -> None:
    pool = await scene.database.pool("carillon_dispatcher", max_size=1)
    queue = work_queue(Channel.EMAIL, Lane.NORMAL)
    await pool.execute("SELECT carillon.measure_queues($1, '{7}', '{1}')", [queue])
    await pool.execute("UPDATE carillon.queue_measurements SET empty_at = now() - interval '1 day'")
    await pool.execute(
        "INSERT INTO carillon.queue_watermarks (queue, consumer, newest_published_at) "
        "VALUES ($1, 'w', now() - interval '10 s')",
        queue,
    )
    await pool.close()
    age = (await scene.queues())[queue]["oldest_age_seconds"]
    assert isinstance(age, float)
    assert 10 <= age < 70
