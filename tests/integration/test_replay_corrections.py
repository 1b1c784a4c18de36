"""Dead letters that are sent again with an address or data put right, for them alone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from carillon_dispatcher.sweepers.operations import Operations
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.dead_letters import Graveyard
from support.events_api import Producer, make_producer, open_api, pointers
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.world import World

REPLAY = "/v1/admin/dead-letters:replay"
MAIL = "new@example.org"

_LEASE = """
    SELECT id, verdict, email, phone, own_data
    FROM carillon.lease($1, array_fill(4::smallint, ARRAY[cardinality($1::uuid[])]), $2, $3, 7, 'test', 30)
"""
_WRITE = """
    SELECT verdict FROM carillon.write_feed($1, '{4}', '{title}', '{body}', '{NULL}', $2, $2, false)
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """An operator, dead letters, a dispatcher, and what a worker may do."""

    operator: Producer
    graves: Graveyard
    publisher: RecordingPublisher
    operations: Operations
    worker: Pool
    feeds: Pool

    async def ask(self, ids: list[UUID], **overrides: Any) -> httpx2.Response:
        body = {"filter": {"ids": [str(one) for one in ids]}, "overrides": overrides, "reason": "a typo"}
        return await self.operator.call("POST", REPLAY, json=body)

    async def replay(self, ids: list[UUID], **overrides: Any) -> str:
        reply = await self.ask(ids, **overrides)
        assert reply.status_code == 202, reply.text
        while await self.operations.work():
            pass
        return str(reply.json()["operation_id"])

    async def leased(self, ids: list[UUID]) -> dict[UUID, asyncpg.Record]:
        rows = await self.worker.fetch(_LEASE, ids, min(ids), max(ids))
        assert {row["verdict"] for row in rows} == {"leased"}
        return {row["id"]: row for row in rows}


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    pools = [await migrated.pool(f"carillon_{role}", max_size=2) for role in _ROLES]
    async with open_api(migrated.url("carillon_api")) as api:
        operator = await make_producer(api, owner, "acme", scopes=("operator", "events:read"))
        world = World(owner, operator.tenant_id, "acme")
        await world.add_people(3)
        publisher = RecordingPublisher()
        dispatcher, worker, feeds = pools
        operations = Operations(dispatcher, publisher, on_end=lambda: None)
        yield Scene(operator, Graveyard(world), publisher, operations, worker, feeds)
    for pool in (*pools, owner):
        await pool.close()


_ROLES = ("dispatcher", "email_worker", "inapp_worker")


async def test_a_corrected_address_is_what_the_worker_sends_to(scene: Scene) -> None:
    _, ids = await scene.graves.bury(people=2)
    await scene.replay(ids[:1], address={"email": MAIL})
    await scene.replay(ids[1:], data={"title": "As it should be"})
    rows = await scene.leased(ids)
    assert [(rows[one]["email"], rows[one]["own_data"]) for one in ids] == [
        (MAIL, {}),
        ("u-2@example.org", {"title": "As it should be"}),
    ]
    person = await scene.graves.world.pool.fetchval("SELECT email FROM carillon.subscribers WHERE id = 'u-1'")
    assert person == "u-1@example.org"


async def test_a_corrected_address_counts_where_the_person_has_none(scene: Scene) -> None:
    _, ids = await scene.graves.bury()
    await scene.graves.world.pool.execute("UPDATE carillon.subscribers SET email = NULL")
    refused = await scene.operator.call("POST", REPLAY, json={"all": True, "dry_run": True})
    assert refused.json()["skipped"] == {"no_address": 1}
    await scene.replay(ids, address={"email": MAIL})
    assert (await scene.leased(ids))[ids[0]]["email"] == MAIL


async def test_a_later_replay_keeps_what_was_put_right_before(scene: Scene) -> None:
    _, ids = await scene.graves.bury()
    await scene.replay(ids, address={"email": MAIL}, data={"title": "One", "body": "Two"})
    await scene.graves.world.pool.execute(
        """SELECT carillon.bury(
            $1, '{4}', '{provider_rejected}', '{550}', '{no}', '{message}', 'smtp', $2, $2)""",
        ids,
        ids[0],
    )
    await scene.replay(ids, data={"title": "Three"})
    rows = await scene.worker.fetch(
        "SELECT * FROM carillon.lease($1, '{5}', $2, $2, 7, 'test', 30)", ids, ids[0]
    )
    assert [(row["email"], row["own_data"]) for row in rows] == [(MAIL, {"title": "Three", "body": "Two"})]


async def test_the_feed_item_carries_the_corrected_data(scene: Scene) -> None:
    _, ids = await scene.graves.bury(channel=Channel.INAPP)
    await scene.replay(ids, data={"title": "Right"})
    (row,) = await scene.feeds.fetch("SELECT * FROM carillon.recipients($1, $2, $2)", ids, ids[0])
    assert row["own_data"] == {"title": "Right"}
    await scene.feeds.execute(_WRITE, ids, ids[0])
    data = await scene.graves.world.pool.fetchval("SELECT data FROM carillon.feed_items")
    assert data == {"title": "Right", "body": "There"}


async def test_the_old_values_are_kept_and_shown_masked(scene: Scene) -> None:
    _, ids = await scene.graves.bury()
    operation = await scene.replay(ids, address={"email": MAIL}, data={"title": "New", "more": 1})
    kept = await scene.graves.world.pool.fetchval(
        "SELECT details FROM carillon.audit_log WHERE action = 'delivery.replayed'"
    )
    assert kept["old"] == {"address": {"email": "u-1@example.org"}, "data": {"title": "Hello", "more": None}}
    assert kept["overrides"] == {"address": {"email": MAIL}, "data": {"title": "New", "more": 1}}
    shown = (await scene.operator.get("/v1/admin/audit")).text
    shown += (await scene.operator.get(f"/v1/admin/operations/{operation}")).text
    assert "n***@e***.org" in shown
    assert "u***@e***.org" in shown
    assert MAIL not in shown
    assert "u-1@example.org" not in shown


async def test_corrections_are_refused_where_they_make_no_sense(scene: Scene) -> None:
    _, mails = await scene.graves.bury(people=2)
    _, feeds = await scene.graves.bury(channel=Channel.INAPP)
    for ids, overrides in (
        (mails, {"address": {"email": MAIL}}),
        (mails[:1], {"address": {"phone": "+97699112233"}}),
        (mails[:1], {"address": {"email": "nonsense"}}),
        (mails[:1], {"address": {}}),
        (mails[:1], {}),
        (mails[:1], {"data": {"title": "a\0b"}}),
        (mails[:1], {"data": {"title": "x" * 20_000}}),
        (feeds, {"address": {"email": MAIL}}),
    ):
        reply = await scene.ask(ids, **overrides)
        assert reply.status_code == 422, (overrides, reply.text)
    body = {"all": True, "overrides": {"data": {"a": 1}}, "reason": "x"}
    assert pointers(await scene.operator.call("POST", REPLAY, json=body)) == [""]
    body = {"filter": {"ids": [str(mails[0])]}, "overrides": {"data": {"a": 1}}, "reason": "x"}
    reply = await scene.operator.call("POST", REPLAY.replace("replay", "discard"), json=body)
    assert pointers(reply) == ["/overrides"]
    assert await scene.graves.count("operations") == 0


async def test_data_must_match_the_types_payload_schema(scene: Scene) -> None:
    _, ids = await scene.graves.bury(people=2)
    assert pointers(await scene.ask(ids, data={"title": ""})) == [
        "/overrides/data/title"
    ]  # the built-in's own
    await scene.graves.world.pool.execute(
        """INSERT INTO carillon.event_types (tenant_id, name, channels, payload_schema)
        VALUES ($1, $2, $3, $4)""",
        scene.graves.world.tenant_id,
        "code.sent",
        ["email"],
        {
            "properties": {"title": {"type": "string"}, "n": {"type": "integer"}, "old": {"const": 1}},
            "additionalProperties": False,
        },
    )
    event, ids = await scene.graves.bury(event_type="code.sent")
    await scene.graves.world.pool.execute(
        "UPDATE carillon.events SET data = $2 WHERE id = $1", event, {"title": "x", "n": "one", "old": 2}
    )
    assert pointers(await scene.ask(ids, data={"n": "two"})) == ["/overrides/data/n"]
    assert pointers(await scene.ask(ids, data={"more": 1})) == ["/overrides/data"]
    assert await scene.graves.count("operations") == 0
    # What was wrong elsewhere is no reason to refuse this.
    assert (await scene.ask(ids, data={"n": 3})).status_code == 202


async def test_many_go_by_the_bulk_lane_and_few_by_their_own(scene: Scene) -> None:
    _, ids = await scene.graves.bury(people=3)
    await scene.graves.ask("replay", id=str(ids[0]))
    await scene.operations.work()
    many = await scene.graves.ask("replay")
    await scene.graves.world.pool.execute("UPDATE carillon.operations SET matched = 101 WHERE id = $1", many)
    await scene.operations.work()
    sent = [(chunk.lane, len(chunk.delivery_ids)) for chunk in scene.publisher.chunks()]
    assert sent == [("normal", 1), ("bulk", 2)]
    lanes = [(await scene.graves.delivery(one))["lane"] for one in ids]
    assert lanes == ["normal", "bulk", "bulk"]
