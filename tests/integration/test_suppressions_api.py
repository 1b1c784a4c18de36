"""`/v1/admin/suppressions`: operators see, add and remove, and it is written down."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from carillon_shared.db.pool import Pool
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase

PATH = "/v1/admin/suppressions"
MAIL = {"channel": "email", "address": "Anna@Example.ORG", "reason": "asked on the phone"}


@dataclass(frozen=True, slots=True)
class Scene:
    """An operator, one of another tenant, and a producer."""

    acme: Producer
    other: Producer
    producer: Producer
    owner: Pool

    async def add(self, **body: Any) -> httpx2.Response:
        return await self.acme.call("POST", PATH, json=body)

    async def list(self, **query: Any) -> list[dict[str, Any]]:
        reply = await self.acme.get(PATH, params=query)
        assert reply.status_code == 200, reply.text
        rows: list[dict[str, Any]] = reply.json()["data"]
        return rows


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        acme = await make_producer(api, owner, scopes=("operator",))
        await owner.execute(
            "INSERT INTO carillon.subscribers (tenant_id, id) VALUES ($1, 'u-7')", acme.tenant_id
        )
        yield Scene(
            acme,
            await make_producer(api, owner, "other", scopes=("operator",)),
            await make_producer(api, owner, scopes=("events:write",)),
            owner,
        )
    await owner.close()


async def test_an_address_is_suppressed_once_and_shown_masked(scene: Scene) -> None:
    reply = await scene.add(**MAIL)
    assert reply.status_code == 201, reply.text
    stored = reply.json()
    assert (stored["address"], stored["subscriber"], stored["reason"]) == ("A***@e***.org", None, "manual")
    again = await scene.add(**MAIL | {"address": "anna@example.org", "expires_at": "2099-01-01T00:00:00Z"})
    assert (again.status_code, again.json()["id"]) == (200, stored["id"])
    (listed,) = await scene.list()
    assert (listed["id"], listed["expires_at"]) == (stored["id"], "2099-01-01T00:00:00Z")
    kept = await scene.owner.fetchval("SELECT to_jsonb(s)::text FROM carillon.suppressions s")
    assert "example.org" not in kept.lower().replace("e***.org", "")


async def test_a_person_is_suppressed_whatever_the_address(scene: Scene) -> None:
    reply = await scene.add(channel="whatsapp", subscriber="u-7", reason="left")
    assert reply.status_code == 201
    assert (reply.json()["subscriber"], reply.json()["address"]) == ("u-7", None)
    assert len(await scene.list(subscriber="u-7")) == 1
    assert (await scene.add(channel="email", subscriber="nobody", reason="x")).status_code == 404


async def test_the_list_is_filtered_paged_and_without_what_is_over(scene: Scene) -> None:
    for n in range(3):
        await scene.add(channel="email", address=f"u{n}@example.org", reason="x")
    await scene.add(channel="whatsapp", address="+1 202 555 0147", reason="x")
    await scene.add(
        channel="email", address="over@example.org", reason="x", expires_at="2020-01-01T00:00:00Z"
    )
    assert [row["channel"] for row in await scene.list()] == ["whatsapp", "email", "email", "email"]
    assert len(await scene.list(address="+12025550147")) == 1
    assert len(await scene.list(address="U1@example.org", channel="email", reason="manual")) == 1
    assert await scene.list(reason="bounced") == []
    first = (await scene.acme.get(PATH, params={"limit": 3})).json()
    rest = (await scene.acme.get(PATH, params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert (len(first["data"]), len(rest["data"]), rest["next_cursor"]) == (3, 1, None)
    for query in ({"cursor": "x"}, {"address": "no address"}, {"channel": "pigeon"}):
        assert (await scene.acme.get(PATH, params=query)).status_code == 422


async def test_a_removal_needs_a_reason_and_is_audited(scene: Scene) -> None:
    identifier = (await scene.add(**MAIL)).json()["id"]
    assert (await scene.acme.call("DELETE", f"{PATH}/{identifier}")).status_code == 422
    assert (await scene.acme.call("DELETE", f"{PATH}/{identifier}?reason=mended")).status_code == 204
    assert (await scene.acme.call("DELETE", f"{PATH}/{identifier}?reason=mended")).status_code == 404
    assert await scene.list() == []
    rows = await scene.owner.fetch("SELECT action, reason, details FROM carillon.audit_log ORDER BY id")
    assert [(row["action"], row["reason"]) for row in rows] == [
        ("suppression.added", "asked on the phone"),
        ("suppression.removed", "mended"),
    ]
    assert rows[1]["details"]["address"] == "A***@e***.org"


@pytest.mark.parametrize(
    "change",
    [
        {"channel": "inapp"},
        {"address": None},
        {"subscriber": "u-7"},
        {"address": "no address"},
        {"channel": "whatsapp"},
        {"reason": " "},
        {"expires_at": "soon"},
        {"more": 1},
    ],
)
async def test_what_names_no_one_thing_is_refused(scene: Scene, change: dict[str, Any]) -> None:
    assert (await scene.add(**MAIL | change)).status_code == 422


async def test_it_is_for_operators_of_the_tenant(scene: Scene) -> None:
    identifier = (await scene.add(**MAIL)).json()["id"]
    assert (await scene.other.get(PATH)).json()["data"] == []
    assert (await scene.other.call("DELETE", f"{PATH}/{identifier}?reason=x")).status_code == 404
    assert (await scene.producer.get(PATH)).status_code == 403
    assert (await scene.producer.call("POST", PATH, json=MAIL)).status_code == 403
