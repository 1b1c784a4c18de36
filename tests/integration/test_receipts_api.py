"""`/v1/receipts/whatsapp`: providers report over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx2
import orjson
import pytest
from carillon_api.receipts.line import ReceiptLine
from carillon_api.receipts.receipt import Report
from carillon_local.postgres import PostgresServer
from carillon_shared.domain.channels import Channel
from carillon_shared.telemetry import metrics
from support import migrated as migrated_databases
from support.events_api import Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.receipts import Reporting, receipt
from support.services import PostgresService
from support.waiting import eventually
from support.whatsapp_webhooks import APP_SECRET, PATH, VERIFY_TOKEN, post, signed, status, webhook
from support.world import World, make_world

SETTINGS: dict[str, Any] = {
    "api_whatsapp_app_secret": APP_SECRET,
    "api_whatsapp_verify_token": VERIFY_TOKEN,
}


@dataclass(frozen=True, slots=True)
class Scene:
    """An API that takes receipts, and its tenant's deliveries."""

    http: httpx2.AsyncClient
    producer: Producer
    reporting: Reporting


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api"), **SETTINGS) as api:
        producer = await make_producer(api, owner)
        world = World(owner, producer.tenant_id, producer.tenant)
        yield Scene(api.http, producer, Reporting(world, api.services.pool))
    await owner.close()


def _counted(result: str) -> float:
    return float(metrics.RECEIPTS.labels("whatsapp", result)._value.get())


async def test_meta_s_question_is_answered_with_the_challenge(scene: Scene) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1158201444"}
    reply = await scene.http.get(PATH, params=asked)
    assert (reply.status_code, reply.text) == (200, "1158201444")
    assert reply.headers["content-type"].startswith("text/plain")
    for wrong in ({"hub.verify_token": "no"}, {"hub.mode": "unsubscribe"}):
        assert (await scene.http.get(PATH, params=asked | wrong)).status_code == 403


@pytest.mark.parametrize("tenant", ["acme", "-"])
async def test_a_delivery_rises_and_shows_what_was_reported(scene: Scene, tenant: str) -> None:
    (delivery,) = await scene.reporting.deliveries("sent")
    before = _counted("raised")
    document = webhook(status(delivery, "read"), status(delivery, "delivered"), status(delivery, "delivered"))
    reply = await post(scene.http, document, path=f"/v1/receipts/whatsapp/{tenant}")
    assert (reply.status_code, reply.content) == (200, b"")
    assert _counted("raised") == before + 1
    shown = (await scene.producer.get(f"/v1/deliveries/{delivery}")).json()
    assert shown["status"] == "read"
    assert [(one["state"], one["message_id"], one["at"]) for one in shown["receipts"]] == [
        ("delivered", "wamid.1", "2025-11-22T04:00:00Z"),
        ("read", "wamid.1", "2025-11-22T04:00:00Z"),
    ]


async def test_an_event_in_doubt_has_an_end(scene: Scene) -> None:
    (delivery,) = await scene.reporting.deliveries("unknown")
    event = (await scene.reporting.row(delivery))["event_id"]
    found = (await scene.producer.get(f"/v1/events/{event}")).json()
    assert found["progress"]["by_status"] == {"unknown": 1}
    await post(scene.http, webhook(status(delivery, "delivered")))
    found = (await scene.producer.get(f"/v1/events/{event}")).json()
    assert found["progress"]["by_status"] == {"delivered": 1}
    assert found["progress"]["percent"] == 100


async def test_a_body_that_nobody_we_know_has_signed_changes_nothing(scene: Scene) -> None:
    (delivery,) = await scene.reporting.deliveries("sent")
    body = orjson.dumps(webhook(status(delivery, "read")))
    for headers in ({}, signed(body, secret="another secret"), signed(body + b" ")):
        reply = await scene.http.post(PATH, content=body, headers=headers)
        assert reply.status_code == 401
    assert (await scene.reporting.row(delivery))["status"] == "sent"


async def test_without_a_secret_nothing_is_taken(migrated: MigratedDatabase) -> None:
    body = orjson.dumps(webhook())
    asked = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "1"}
    async with open_api(migrated.url("carillon_api")) as api:
        assert (await api.http.post(PATH, content=body, headers=signed(body, secret=""))).status_code == 401
        assert (await api.http.get(PATH, params=asked)).status_code == 403


async def test_receipts_of_one_tenant_say_nothing_of_another_s_deliveries(scene: Scene) -> None:
    other = await make_world(scene.reporting.world.pool, slug="other")
    (delivery,) = await scene.reporting.deliveries("sent")
    before = _counted("unmatched")
    reply = await post(
        scene.http, webhook(status(delivery, "read")), path=f"/v1/receipts/whatsapp/{other.slug}"
    )
    assert reply.status_code == 200
    assert _counted("unmatched") == before + 1
    assert (await scene.reporting.row(delivery))["status"] == "sent"


async def test_an_unknown_tenant_a_wrong_name_and_too_much_are_refused(scene: Scene) -> None:
    for tenant, expected in {"nobody": 404, "No%00body": 422, "--": 422}.items():
        reply = await post(scene.http, webhook(), path=f"/v1/receipts/whatsapp/{tenant}")
        assert reply.status_code == expected, tenant
    body = b" " * (4 * 1024 * 1024 + 1)
    assert (await scene.http.post(PATH, content=body, headers=signed(body))).status_code == 413


async def test_shapes_of_another_time_are_answered_with_200(scene: Scene) -> None:
    for document in (None, {}, {"entry": [{"changes": [{"field": "account_update"}]}]}, webhook({"id": 1})):
        assert (await post(scene.http, document)).status_code == 200
    body = b"no JSON"
    assert (await scene.http.post(PATH, content=body, headers=signed(body))).status_code == 200


async def test_many_requests_at_once_share_statements(scene: Scene) -> None:
    deliveries = await scene.reporting.deliveries("sent", 40)
    line = ReceiptLine(scene.reporting.api)
    tenant = scene.reporting.world.tenant_id
    calls = [
        asyncio.create_task(
            line.record(Report(tenant, Channel.WHATSAPP, "cloud_api", [receipt(one, "read", f"w-{one}")]))
        )
        for one in deliveries
    ]
    await asyncio.sleep(0)  # all of them are in the line
    running = asyncio.create_task(line.run())
    await asyncio.gather(*calls)
    running.cancel()
    rows = await scene.reporting.world.pool.fetch("SELECT DISTINCT xmin::text FROM carillon.receipts")
    assert len(rows) == 1
    assert set((await scene.reporting.statuses()).values()) == {"read"}


async def test_one_request_that_cannot_be_written_takes_no_other_with_it(scene: Scene) -> None:
    good, bad = await scene.reporting.deliveries("sent", 2)
    line = ReceiptLine(scene.reporting.api)
    tenant = scene.reporting.world.tenant_id

    def reported(delivery: Any, message: str) -> Report:
        return Report(tenant, Channel.WHATSAPP, "cloud_api", [receipt(delivery, "read", message)])

    calls = asyncio.gather(
        line.record(reported(bad, "broken\0")), line.record(reported(good, "w")), return_exceptions=True
    )
    await asyncio.sleep(0)
    running = asyncio.create_task(line.run())
    refused, taken = await calls
    running.cancel()
    assert isinstance(refused, asyncpg.PostgresError)
    assert taken is None
    assert (await scene.reporting.row(good))["status"] == "read"


async def test_while_the_database_is_away_the_provider_is_asked_to_come_again(
    own_postgres: PostgresServer,
) -> None:
    service = PostgresService(own_postgres.superuser_url)
    database = await migrated_databases.copy_template(
        service, await migrated_databases.make_template(service)
    )
    owner = await database.pool()
    async with open_api(database.url("carillon_api"), **SETTINGS) as api:
        world = await make_world(owner)
        (delivery,) = await Reporting(world, api.services.pool).deliveries("unknown")
        document = webhook(status(delivery, "delivered"))
        await asyncio.to_thread(own_postgres.stop)
        for _ in range(2):
            reply = await post(api.http, document)
            assert reply.status_code == 503
            assert int(reply.headers["Retry-After"]) > 0
        await asyncio.to_thread(own_postgres.start)

        async def is_taken() -> bool:
            return (await post(api.http, document)).status_code == 200

        await eventually(is_taken, seconds=30, what="the receipt to be taken")
        assert (await Reporting(world, api.services.pool).row(delivery))["status"] == "delivered"
    await owner.close()
