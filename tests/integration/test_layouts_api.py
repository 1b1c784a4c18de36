"""`/v1/tenant/layouts`: from the API to the mails that workers make."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from carillon_shared.clock import SystemClock
from carillon_shared.db.pool import Pool
from carillon_shared.delivery.catalogue import Catalogue
from carillon_shared.domain.channels import Channel
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.world import World

PATH = "/v1/tenant/layouts"
LAYOUT = {"html": '<p style="color: {{ tenant.brand.color }}">{{ content }}</p>', "text": None}
MAIL = {"subject": "Ticket {{ data.id }}", "html": "<b>{{ data.id }}</b>"}
TEMPLATE = "/v1/event-types/ticket.changed/templates/email/en"


@dataclass(frozen=True, slots=True)
class Scene:
    """Somebody who may change the registry, and the worker that reads it."""

    registrar: Producer
    other: Producer
    owner: Pool
    worker: Pool

    async def put(self, path: str, body: Any, *, expect: int = 200) -> Any:
        reply = await self.registrar.call("PUT", path, json=body)
        assert reply.status_code == expect, reply.text
        return reply.json()


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner, worker = await migrated.pool(), await migrated.pool("carillon_email_worker")
    async with open_api(migrated.url("carillon_api")) as api:
        registrar = await make_producer(api, owner, scopes=("registry:write",))
        other = await make_producer(api, owner, "other", scopes=("registry:write",))
        yield Scene(registrar, other, owner, worker)
    await worker.close()
    await owner.close()


async def test_a_layout_is_kept_read_replaced_and_deleted(scene: Scene) -> None:
    stored = await scene.put(f"{PATH}/en", LAYOUT)
    assert (stored["locale"], stored["html"]) == ("en", LAYOUT["html"])
    await scene.put(f"{PATH}/en", LAYOUT | {"text": "{{ content }}"})
    await scene.put(f"{PATH}/mn", LAYOUT)
    rows = (await scene.registrar.get(PATH)).json()["data"]
    assert [(row["locale"], row["text"]) for row in rows] == [("en", "{{ content }}"), ("mn", None)]
    assert (await scene.registrar.get(f"{PATH}/mn")).json()["locale"] == "mn"
    assert (await scene.other.get(PATH)).json()["data"] == []
    assert (await scene.registrar.call("DELETE", f"{PATH}/mn")).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await scene.registrar.call(method, f"{PATH}/mn")).status_code == 404


async def test_a_wrong_layout_is_refused_with_its_place_and_a_dry_run_keeps_nothing(scene: Scene) -> None:
    problem = await scene.put(f"{PATH}/en", {"html": "no place", "text": "{{ content }}{{ x }}"}, expect=422)
    assert {error["pointer"] for error in problem["errors"]} == {"/html", "/text"}
    await scene.put(f"{PATH}/en?dry_run=true", LAYOUT)
    assert (await scene.registrar.get(PATH)).json()["data"] == []


async def test_workers_and_previews_see_layout_and_brand(scene: Scene) -> None:
    await scene.put("/v1/tenant/defaults", {"locale": "en", "brand": {"color": "#0a7d5a"}})
    assert (await scene.registrar.get("/v1/tenant/defaults")).json()["brand"] == {"color": "#0a7d5a"}
    await scene.put(f"{PATH}/en", LAYOUT)
    await scene.put(TEMPLATE, MAIL)
    reply = await scene.registrar.call("POST", f"{TEMPLATE}/preview", json={"data": {"id": 42}})
    assert '<p style="color: #0a7d5a"><b>42</b></p>' in reply.json()["rendered"]["html"]
    world = World(scene.owner, scene.registrar.tenant_id, "acme")
    event = await world.add_event(type_name="ticket.changed")
    work = (await Catalogue(scene.worker, channel=Channel.EMAIL, clock=SystemClock()).load([event]))[event]
    assert work.templates["en"]["html"] == str(LAYOUT["html"]).replace("{{ content }}", MAIL["html"])
    assert work.content.tenant.brand == {"color": "#0a7d5a"}
    other = (await Catalogue(scene.worker, channel=Channel.INAPP, clock=SystemClock()).load([event]))[event]
    assert other.templates == {}


async def test_a_preview_that_fails_points_at_the_field(scene: Scene) -> None:
    await scene.put(TEMPLATE, MAIL)
    reply = await scene.registrar.call("POST", f"{TEMPLATE}/preview", json={"data": {}})
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["pointer"]) == (422, "/subject")
    body = {"data": {"id": 1}, "content": MAIL | {"text": "{{ data.no }}"}}
    reply = await scene.registrar.call("POST", f"{TEMPLATE}/preview", json=body)
    assert reply.json()["errors"][0]["pointer"] == "/content/text"
    assert "data.no is missing" in reply.json()["errors"][0]["detail"]
