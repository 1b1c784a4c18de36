"""Outgoing webhooks: what endpoints get, when it is tried again, and where nothing is posted."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from carillon_dispatcher.webhooks.guard import AddressGuard, networks
from carillon_dispatcher.webhooks.posting import Posted, WebhookClient
from carillon_dispatcher.webhooks.retrying import DELAYS
from carillon_dispatcher.webhooks.sending import WebhookSender
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.events_api import Api, Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.scripted_http import ScriptedServer, scripted_server
from support.webhooks import (
    is_signed,
    make_endpoint,
    make_outcome,
    make_sender,
    messages_to,
    post_due,
    shown_endpoint,
)
from support.world import World


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def dispatcher(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool("carillon_dispatcher")
    yield pool
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


@pytest.fixture
async def producer(api: Api, owner: Pool) -> Producer:
    return await make_producer(api, owner)


@pytest.fixture
async def world(producer: Producer, owner: Pool) -> World:
    world = World(owner, producer.tenant_id, producer.tenant)
    await world.add_people(3)
    return world


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        server.answer("POST", "/hook", {})
        yield server


@pytest.fixture
async def client() -> AsyncIterator[WebhookClient]:
    client = WebhookClient(AddressGuard(networks("127.0.0.1")), seconds=5, connections=10)
    yield client
    await client.aclose()


@pytest.fixture
def sender(dispatcher: Pool, client: WebhookClient) -> WebhookSender:
    return make_sender(dispatcher, client)


async def test_an_outcome_is_posted_signed_with_what_the_producer_knows_it_by(
    producer: Producer, world: World, dispatcher: Pool, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    endpoint = await make_endpoint(producer, receiver)
    event = await make_outcome(world, dispatcher, "dead")
    assert await post_due(sender) == 1
    (asked,) = receiver.asked
    assert is_signed(asked, endpoint["secret"])
    assert not is_signed(asked, "whsec_AAAA")
    assert asked.headers["content-type"] == "application/json"
    body = json.loads(asked.content)
    assert body["type"] == "delivery.dead"
    assert (body["data"]["tenant"], body["data"]["channel"], body["data"]["state"]) == (
        "acme",
        "email",
        "dead",
    )
    told = body["data"]["deliveries"]
    assert {row["subscriber"] for row in told} == {"u-1", "u-2", "u-3"}
    assert {(row["event_id"], row["external_id"], row["reason"]) for row in told} == {
        (str(event), str(event), "retries_exhausted")
    }
    assert not {"email", "phone"} & set(told[0])  # no addresses
    (message,) = await messages_to(producer, endpoint)
    assert (message["id"], message["status"]) == (asked.headers["webhook-id"], "delivered")
    assert await post_due(sender) == 0


async def test_an_endpoint_gets_what_it_asked_for_and_another_tenants_nothing(
    api: Api,
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    other = await make_producer(api, owner, "globex")
    await make_endpoint(other, receiver)
    await make_endpoint(producer, receiver, states=["failed", "dead"], channels=["whatsapp"])
    await make_outcome(world, dispatcher, "sent", Channel.WHATSAPP)
    await make_outcome(world, dispatcher, "dead", Channel.EMAIL)
    await make_outcome(world, dispatcher, "dead", Channel.WHATSAPP)
    assert await post_due(sender) == 1
    assert [asked.body["data"]["channel"] for asked in receiver.asked] == ["whatsapp"]


async def test_what_failed_is_posted_again_under_the_same_id(
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {"busy": True}, status=503)
    receiver.answer("POST", "/hook", {})
    endpoint = await make_endpoint(producer, receiver)
    await make_outcome(world, dispatcher)
    await post_due(sender)
    (message,) = await messages_to(producer, endpoint)
    assert (message["status"], message["attempt"], message["code"]) == ("waiting", 1, 503)
    due = datetime.fromisoformat(message["due_at"]) - datetime.now(UTC)
    assert timedelta(0) < due < timedelta(seconds=DELAYS[0] * 1.2)
    assert (await shown_endpoint(producer, endpoint))["failing_since"] is not None
    assert await post_due(sender) == 0  # it is not due
    await owner.execute("UPDATE carillon.webhook_messages SET due_at = now()")
    await post_due(sender)
    (message,) = await messages_to(producer, endpoint)
    assert (message["status"], message["attempt"]) == ("delivered", 2)
    assert (await shown_endpoint(producer, endpoint))["failing_since"] is None
    first, second = receiver.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.content == second.content


async def test_an_endpoint_that_is_gone_is_disabled_at_once(
    producer: Producer, world: World, dispatcher: Pool, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {}, status=410)
    endpoint = await make_endpoint(producer, receiver)
    await make_outcome(world, dispatcher)
    await post_due(sender)
    assert (await shown_endpoint(producer, endpoint))["disabled_reason"] == "gone"
    assert [one["status"] for one in await messages_to(producer, endpoint)] == ["failed"]


async def test_redirects_are_not_followed(
    producer: Producer, world: World, dispatcher: Pool, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {}, status=307)
    endpoint = await make_endpoint(producer, receiver)
    await make_outcome(world, dispatcher)
    await post_due(sender)
    (message,) = await messages_to(producer, endpoint)
    assert (message["status"], message["code"]) == ("waiting", 307)
    assert "redirect" in message["error"]


async def test_addresses_inside_are_refused_unless_they_are_allowed(
    producer: Producer, world: World, dispatcher: Pool, receiver: ScriptedServer
) -> None:
    strict = WebhookClient(AddressGuard(()), seconds=5, connections=10)
    endpoint = await make_endpoint(producer, receiver)
    await make_outcome(world, dispatcher)
    await post_due(make_sender(dispatcher, strict))
    await strict.aclose()
    (message,) = await messages_to(producer, endpoint)
    assert message["code"] is None
    assert "127.0.0.1 is not a public address" in message["error"]
    assert receiver.asked == []


async def test_a_name_is_looked_up_once_and_that_address_is_used(receiver: ScriptedServer) -> None:
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    client = WebhookClient(AddressGuard(networks("127.0.0.1"), resolve=rebinding), seconds=5, connections=10)
    port = receiver.url.rsplit(":", 1)[1]
    posted = await client.post(f"http://hooks.invalid:{port}/hook", b"{}", {"webhook-id": "1"})
    await client.aclose()
    assert posted == Posted(200)
    assert asked == ["hooks.invalid"]
    assert receiver.asked[0].headers["host"] == f"hooks.invalid:{port}"


async def test_a_slow_endpoint_holds_up_nobody_else(
    producer: Producer, world: World, dispatcher: Pool, receiver: ScriptedServer
) -> None:
    release = asyncio.Event()
    posted: list[str] = []

    class Slow:
        async def post(self, url: str, _payload: bytes, _headers: dict[str, str]) -> Posted:
            if url.endswith("/slow"):
                await release.wait()
            posted.append(url)
            return Posted(200)

    await make_endpoint(producer, receiver, url="https://slow.example/slow")
    await make_endpoint(producer, receiver, url="https://quick.example/quick")
    sender = make_sender(dispatcher, Slow())
    await make_outcome(world, dispatcher)
    assert await sender.begin() == 2
    await make_outcome(world, dispatcher)
    async with asyncio.timeout(20):
        while len(posted) < 2:
            await sender.begin()
            await asyncio.sleep(0)
    assert posted == ["https://quick.example/quick"] * 2
    release.set()
    await sender.idle()
    assert await post_due(sender) == 1


async def test_two_dispatchers_post_each_message_once(
    producer: Producer, world: World, dispatcher: Pool, client: WebhookClient, receiver: ScriptedServer
) -> None:
    await make_endpoint(producer, receiver)
    for _ in range(12):
        await make_outcome(world, dispatcher)
    senders = [make_sender(dispatcher, client) for _ in range(2)]

    async def work(sender: WebhookSender) -> None:
        while await post_due(sender):
            pass

    await asyncio.gather(*map(work, senders))
    ids = [asked.headers["webhook-id"] for asked in receiver.asked]
    assert len(ids) == len(set(ids)) == 12
