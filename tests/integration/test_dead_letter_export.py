"""Dead letters as a file: complete, masked unless asked otherwise, and no formula in it."""

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from carillon_shared.domain.channels import Channel
from support.dead_letters import Graveyard
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.world import World

EXPORT = "/v1/admin/dead-letters:export"
PEOPLE = 1_100  # more than two pages


@dataclass(frozen=True, slots=True)
class Scene:
    """An operator, one of another tenant, one who may only read, and dead letters."""

    operator: Producer
    stranger: Producer
    reader: Producer
    graves: Graveyard

    async def export(self, *, caller: Producer | None = None, **query: Any) -> httpx2.Response:
        reply = await (caller or self.operator).get(EXPORT, params=query)
        assert reply.status_code == 200, reply.text
        return reply

    async def rows(self, **query: Any) -> list[dict[str, Any]]:
        reply = await self.export(format="jsonl", **query)
        assert reply.headers["content-type"] == "application/jsonl"
        return [json.loads(line) for line in reply.text.splitlines()]


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        operator = await make_producer(api, owner, "acme", scopes=("operator",))
        world = World(owner, operator.tenant_id, "acme")
        yield Scene(
            operator,
            await make_producer(api, owner, "other", scopes=("operator",)),
            await make_producer(api, owner, "acme", scopes=("events:read",)),
            Graveyard(world),
        )
    await owner.close()


async def test_an_export_has_every_dead_letter_once(scene: Scene) -> None:
    await scene.graves.world.add_people(PEOPLE)
    _, ids = await scene.graves.bury(people=PEOPLE)
    rows = await scene.rows()
    assert sorted(row["id"] for row in rows) == sorted(map(str, ids))
    assert rows[0].keys() == {
        *("id", "event_id", "event_type", "subscriber", "channel", "address", "reason", "provider"),
        *("code", "error", "attempt", "dead_at"),
    }
    assert len(list(csv.DictReader(io.StringIO((await scene.export()).text)))) == PEOPLE


async def test_addresses_are_masked_unless_revealed_and_either_is_audited(scene: Scene) -> None:
    await scene.graves.world.add_people(1)
    await scene.graves.bury()
    await scene.graves.bury(channel=Channel.WHATSAPP)
    await scene.graves.world.pool.execute("UPDATE carillon.dead_letters SET error = 'no <u-1@example.org>'")
    masked = await scene.rows()
    assert {row["address"] for row in masked} == {"u***@e***.org", "+12***01"}
    assert {row["error"] for row in masked} == {"no <u***@e***.org>"}
    revealed = await scene.rows(reveal=True, channel="email")
    assert [(row["address"], row["error"]) for row in revealed] == [
        ("u-1@example.org", "no <u-1@example.org>")
    ]
    told = (await scene.operator.get("/v1/admin/audit")).json()["data"]
    assert [(row["action"], row["details"]["revealed"], row["details"]["filter"]) for row in told] == [
        ("dead_letters.exported", True, {"channel": "email"}),
        ("dead_letters.exported", False, {}),
    ]


async def test_the_address_is_shown_masked_in_the_list_too(scene: Scene) -> None:
    await scene.graves.world.add_people(1)
    _, ids = await scene.graves.bury()
    shown = (await scene.operator.get(f"/v1/admin/dead-letters/{ids[0]}")).json()
    assert shown["address"] == "u***@e***.org"


@pytest.mark.parametrize("error", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
async def test_no_cell_is_a_formula(scene: Scene, error: str) -> None:
    await scene.graves.world.add_people(1)
    await scene.graves.bury()
    await scene.graves.world.pool.execute("UPDATE carillon.dead_letters SET error = $1", error)
    reply = await scene.export()
    assert reply.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(reply.text, newline=""))
    assert row["error"] == f"'{error}"


async def test_an_export_is_for_operators_of_the_tenant_only(scene: Scene) -> None:
    await scene.graves.world.add_people(1)
    await scene.graves.bury()
    assert (await scene.reader.get(EXPORT)).status_code == 403
    reply = await scene.export(caller=scene.stranger, format="jsonl", reveal=True)
    assert reply.text == ""
