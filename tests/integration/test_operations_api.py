"""What operators ask for over HTTP: counts, dry runs, operations, single deliveries, the audit."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from carillon_dispatcher.sweepers.operations import Operations
from carillon_shared.domain.channels import Channel
from support.dead_letters import Graveyard
from support.events_api import Producer, make_producer, open_api, pointers
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.world import World

DEAD_LETTERS = "/v1/admin/dead-letters"
WHY = "the provider is back"


@dataclass(frozen=True, slots=True)
class Scene:
    """Two tenants, the first one's dead letters, and a dispatcher."""

    operator: Producer
    stranger: Producer
    reader: Producer
    graves: Graveyard
    publisher: RecordingPublisher
    operations: Operations

    async def ask(self, verb: str, *, caller: Producer | None = None, **body: Any) -> httpx2.Response:
        return await (caller or self.operator).call("POST", f"{DEAD_LETTERS}:{verb}", json=body)

    async def started(self, verb: str, **body: Any) -> str:
        reply = await self.ask(verb, reason=WHY, **body)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["operation_id"])

    async def progress(self, operation: str) -> dict[str, Any]:
        reply = await self.operator.get(f"/v1/admin/operations/{operation}")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    async def command(self, delivery: UUID, verb: str, *, caller: Producer | None = None) -> httpx2.Response:
        who = caller or self.operator
        return await who.call("POST", f"/v1/deliveries/{delivery}/{verb}", json={"reason": WHY})

    async def audit(self, **query: Any) -> list[tuple[str, str, str]]:
        rows = (await self.operator.get("/v1/admin/audit", params=query)).json()["data"]
        return [(row["action"], row["target"], row["reason"]) for row in rows]


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool("carillon_owner", max_size=3)
    dispatcher = await migrated.pool("carillon_dispatcher", max_size=2)
    async with open_api(migrated.url("carillon_api")) as api:
        operator = await make_producer(api, owner, "acme", scopes=("operator",))
        world = World(owner, operator.tenant_id, "acme")
        await world.add_people(3)
        publisher = RecordingPublisher()
        yield Scene(
            operator,
            await make_producer(api, owner, "other", scopes=("operator",)),
            await make_producer(api, owner, "acme", scopes=("events:read", "events:write")),
            Graveyard(world),
            publisher,
            Operations(dispatcher, publisher, on_end=lambda: None),
        )
    await dispatcher.close()
    await owner.close()


async def test_dead_letters_are_counted_by_reason(scene: Scene) -> None:
    await scene.graves.bury(people=2)
    await scene.graves.bury(reason="retries_exhausted")
    await scene.graves.bury(reason="poison", channel=Channel.WHATSAPP)
    every = (await scene.operator.get(f"{DEAD_LETTERS}:count")).json()
    assert every == {"total": 4, "by_reason": {"provider_rejected": 2, "retries_exhausted": 1, "poison": 1}}
    mails = (await scene.operator.get(f"{DEAD_LETTERS}:count", params={"channel": "email"})).json()
    assert mails["total"] == 3
    theirs = (await scene.stranger.get(f"{DEAD_LETTERS}:count")).json()
    assert theirs == {"total": 0, "by_reason": {}}


async def test_a_dry_run_tells_what_would_be_replayed_and_changes_nothing(scene: Scene) -> None:
    await scene.graves.bury(people=3)
    await scene.graves.world.pool.execute("UPDATE carillon.subscribers SET email = NULL WHERE id = 'u-2'")
    reply = await scene.ask("replay", dry_run=True, all=True)
    assert reply.status_code == 200
    assert reply.json() == {"matched": 3, "acted": 2, "skipped": {"no_address": 1}, "complete": True}
    reply = await scene.ask("discard", dry_run=True, filter={"channel": "email"})
    assert reply.json() == {"matched": 3, "acted": 3, "skipped": {}, "complete": True}
    assert await scene.graves.count("dead_letters") == 3
    assert await scene.graves.count("operations") == 0
    assert await scene.graves.count("audit_log") == 0


async def test_an_operation_is_stored_carried_out_and_shows_its_progress(scene: Scene) -> None:
    await scene.graves.bury(people=3)
    operation = await scene.started("replay", filter={"channel": "email"}, rate_per_second=2)
    begun = await scene.progress(operation)
    assert (begun["status"], begun["matched"], begun["acted"], begun["percent"]) == ("running", 3, 0, 0.0)
    await scene.operations.work()
    assert (await scene.progress(operation))["percent"] == 66.7
    await scene.graves.world.pool.execute("UPDATE carillon.operations SET next_at = now()")
    await scene.operations.work()
    done = await scene.progress(operation)
    assert (done["status"], done["acted"], done["skipped"], done["percent"]) == ("done", 3, {}, 100.0)
    assert (done["kind"], done["filter"], done["reason"]) == ("replay", {"channel": "email"}, WHY)
    assert len(scene.publisher.delivery_ids()) == 3


async def test_a_stopped_operation_stays_stopped(scene: Scene) -> None:
    await scene.graves.bury(people=3)
    operation = await scene.started("discard", all=True)
    path = f"/v1/admin/operations/{operation}"
    for _ in range(2):
        stopped = await scene.operator.call("DELETE", path)
        assert (stopped.status_code, stopped.json()["status"]) == (200, "stopped")
    assert await scene.operations.work() == 0
    assert await scene.graves.count("dead_letters") == 3
    told = await scene.audit()
    assert [action for action, _, _ in told] == ["operation.stopped", "operation.discard"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": WHY}, ""),
        ({"reason": WHY, "filter": {}}, ""),
        ({"all": True}, ""),
        ({"all": True, "reason": ""}, "/reason"),
        ({"filter": {"colour": "red"}, "reason": WHY}, "/filter/colour"),
        ({"filter": {"channel": "pigeon"}, "reason": WHY}, "/filter/channel"),
        ({"filter": {"event_type": "a\0b"}, "reason": WHY}, "/filter/event_type"),
        ({"filter": {"since": "yesterday"}, "reason": WHY}, "/filter/since"),
        ({"all": True, "reason": WHY, "rate_per_second": 0}, "/rate_per_second"),
    ],
)
async def test_what_is_not_meant_is_refused(scene: Scene, body: dict[str, Any], pointer: str) -> None:
    reply = await scene.ask("discard", **body)
    assert reply.status_code == 422, reply.text
    assert pointer in pointers(reply)
    assert await scene.graves.count("operations") == 0


async def test_operations_are_for_operators_of_the_tenant(scene: Scene) -> None:
    await scene.graves.bury()
    operation = await scene.started("replay", all=True)
    path = f"/v1/admin/operations/{operation}"
    assert (await scene.stranger.get(path)).status_code == 404
    assert (await scene.stranger.call("DELETE", path)).status_code == 404
    assert (await scene.operator.get("/v1/admin/operations/none")).status_code == 404
    assert (await scene.reader.get(path)).status_code == 403
    assert (await scene.ask("replay", caller=scene.reader, all=True, reason=WHY)).status_code == 403
    assert (await scene.progress(operation))["status"] == "running"


async def test_one_dead_delivery_is_retried(scene: Scene) -> None:
    _, (one, other) = await scene.graves.bury(people=2)
    reply = await scene.command(one, "retry")
    assert reply.status_code == 202, reply.text
    await scene.operations.work()
    assert scene.publisher.delivery_ids() == [one]
    assert (await scene.progress(reply.json()["operation_id"]))["acted"] == 1
    assert (await scene.graves.delivery(other))["status"] == "dead"
    again = await scene.command(one, "retry")
    assert (again.status_code, again.json()["type"]) == (409, "urn:carillon:problem:not-dead")


async def test_a_retry_that_would_not_be_right_is_refused_with_its_reason(scene: Scene) -> None:
    _, (one,) = await scene.graves.bury()
    await scene.graves.world.pool.execute("UPDATE carillon.events SET expires_at = now()")
    reply = await scene.command(one, "retry")
    assert reply.status_code == 409
    assert (reply.json()["type"], reply.json()["reason"]) == (
        "urn:carillon:problem:replay-refused",
        "expired",
    )
    assert await scene.graves.count("operations") == 0


async def test_one_delivery_that_has_not_begun_is_cancelled(scene: Scene) -> None:
    world = scene.graves.world
    (one,) = await world.add_deliveries(await world.add_event(), world.people[:1], Channel.EMAIL)
    for _ in range(2):
        reply = await scene.command(one, "cancel")
        assert (reply.status_code, reply.json()) == (200, {"id": str(one), "status": "cancelled"})
    row = await scene.graves.delivery(one)
    assert (row["status"], row["reason"]) == ("cancelled", "cancelled")
    assert ("delivery.cancelled", str(one), WHY) in await scene.audit(target=str(one))


async def test_what_is_dead_or_over_cannot_be_cancelled(scene: Scene) -> None:
    _, (one,) = await scene.graves.bury()
    reply = await scene.command(one, "cancel")
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:carillon:problem:not-cancellable")
    assert (await scene.graves.delivery(one))["status"] == "dead"


@pytest.mark.parametrize("verb", ["retry", "cancel"])
async def test_another_tenants_delivery_is_not_there(scene: Scene, verb: str) -> None:
    _, (one,) = await scene.graves.bury()
    assert (await scene.command(one, verb, caller=scene.stranger)).status_code == 404
    assert (await scene.command(one, verb, caller=scene.reader)).status_code == 403
    assert (await scene.command(uuid4(), verb)).status_code == 404


async def test_the_audit_tells_who_did_what_and_why_page_by_page(scene: Scene) -> None:
    await scene.graves.bury(people=2)
    operation = await scene.started("discard", all=True)
    await scene.operations.work()
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = (await scene.operator.get("/v1/admin/audit", params=params)).json()
        rows += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [row["action"] for row in rows] == [
        "operation.done",
        *["delivery.discarded"] * 2,
        "operation.discard",
    ]
    assert {row["reason"] for row in rows} == {WHY}
    assert {row["actor"].split(":")[0] for row in rows} == {"key"}
    assert rows[-1]["target"] == operation
    assert await scene.audit(action="operation.done") == [("operation.done", operation, WHY)]
    assert (await scene.stranger.get("/v1/admin/audit")).json()["data"] == []
    reply = await scene.operator.get("/v1/admin/audit", params={"cursor": "AAAA"})
    assert reply.status_code == 422
