"""Poison messages over HTTP: for those who run the platform, masked, and discarded with a reason."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from carillon_shared.db.pool import Pool
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase

POISON = "/v1/admin/poison-messages"
DISCARD = f"{POISON}:discard"


@dataclass(frozen=True, slots=True)
class Scene:
    """One who runs the platform, an operator of a tenant, and the table."""

    admin: Producer
    operator: Producer
    owner: Pool

    async def add(self, body: bytes, *, queue: str = "carillon.email.normal") -> int:
        value = await self.owner.fetchval(
            "INSERT INTO carillon.poison_messages (queue, message_id, message_type, body, error) "
            "VALUES ($1, 'm-1', 'x.y.v9', $2, 'no type x.y.v9 for a@example.org') RETURNING id",
            queue,
            body,
        )
        return int(value)

    async def list(self, **query: Any) -> dict[str, Any]:
        reply = await self.admin.get(POISON, params=query)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    async def discard(self, **body: Any) -> httpx2.Response:
        return await self.admin.call("POST", DISCARD, json=body)


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        yield Scene(
            await make_producer(api, owner, "platform", scopes=("admin",)),
            await make_producer(api, owner, "acme", scopes=("operator",)),
            owner,
        )
    await owner.close()


async def test_they_are_listed_newest_first_and_masked(scene: Scene) -> None:
    ids = [await scene.add(f'{{"to": "anna{n}@example.org"}}'.encode()) for n in range(3)]
    first = await scene.list(limit=2)
    assert [row["id"] for row in first["data"]] == [ids[2], ids[1]]
    assert first["data"][0]["body"] == '{"to": "a***@e***.org"}'
    assert first["data"][0]["error"] == "no type x.y.v9 for a***@e***.org"
    rest = await scene.list(limit=2, cursor=first["next_cursor"])
    assert [row["id"] for row in rest["data"]] == ids[:1]


async def test_one_is_shown_whole_and_bytes_that_are_no_text_do_no_harm(scene: Scene) -> None:
    identifier = await scene.add(b"\xff\x00" + b"x" * 2000)
    listed = (await scene.list())["data"][0]
    shown = (await scene.admin.get(f"{POISON}/{identifier}")).json()
    assert (len(listed["body"]), len(shown["body"]), shown["size"]) == (500, 2002, 2002)
    for wrong in ("999999", "x", str(2**70)):
        assert (await scene.admin.get(f"{POISON}/{wrong}")).status_code == 404


async def test_a_discard_needs_a_choice_and_a_reason_and_is_audited(scene: Scene) -> None:
    one, two = await scene.add(b"1"), await scene.add(b"2", queue="carillon.dispatch.dead")
    await scene.add(b"3")
    for body in ({"reason": "x"}, {"ids": [one]}, {"ids": [], "reason": "x"}):
        assert (await scene.discard(**body)).status_code == 422
    assert (await scene.discard(ids=[one, 10**6], reason="tests")).json() == {"discarded": 1}
    reply = await scene.discard(queue="carillon.dispatch.dead", reason="looked at")
    assert reply.json() == {"discarded": 1}
    assert (await scene.discard(all=True, reason="the rest")).json() == {"discarded": 1}
    assert (await scene.list())["data"] == []
    rows = await scene.owner.fetch("SELECT * FROM carillon.audit_log ORDER BY id")
    assert [(row["action"], row["reason"], row["details"]["ids"][:1]) for row in rows[:2]] == [
        ("poison.discarded", "tests", [one]),
        ("poison.discarded", "looked at", [two]),
    ]


async def test_operators_of_a_tenant_see_none_of_them(scene: Scene) -> None:
    await scene.add(b"theirs, perhaps")
    assert (await scene.operator.get(POISON)).status_code == 403
    assert (await scene.operator.get(f"{POISON}/1")).status_code == 403
    reply = await scene.operator.call("POST", DISCARD, json={"all": True, "reason": "x"})
    assert reply.status_code == 403
