"""Outgoing webhooks: what endpoints get, when it is tried again, and where nothing is posted."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.housekeeping import Housekeeping
from carillon_dispatcher.sweepers.outcomes import OutcomeRelay
from carillon_dispatcher.webhooks.guard import AddressGuard, networks
from carillon_dispatcher.webhooks.posting import Posted, WebhookClient
from carillon_dispatcher.webhooks.retrying import DELAYS
from carillon_dispatcher.webhooks.sending import WebhookSender
from carillon_dispatcher.webhooks.store import WebhookStore
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.events_api import Api, Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.scripted_http import Asked, ScriptedServer, scripted_server
from support.world import World

_ENDPOINTS = "/v1/webhook-endpoints"
_LONG_AGO = "2020-01-01T00:00:00Z"


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
    return _sender(dispatcher, client)


def _sender(dispatcher: Pool, client: Any) -> WebhookSender:
    return WebhookSender(WebhookStore(dispatcher, disable_days=5), client, seconds=5, interval=0.05)


async def _endpoint(producer: Producer, receiver: ScriptedServer, **fields: Any) -> dict[str, Any]:
    body = {"url": f"{receiver.url}/hook"} | fields
    made = await producer.call("POST", _ENDPOINTS, json=body)
    assert made.status_code == 201, made.text
    endpoint: dict[str, Any] = made.json()
    return endpoint


async def _outcome(
    world: World, dispatcher: Pool, status: str = "sent", channel: Channel = Channel.EMAIL
) -> UUID:
    """Let an event's deliveries come to a state, and hand that on; returns the event."""
    event = await world.add_event(channels=[channel])
    ids = await world.add_deliveries(event, world.people, channel)
    await world.pool.execute(
        """UPDATE carillon.deliveries SET status = $2::text::carillon.delivery_status, reason = 'retries_exhausted'
        WHERE id = ANY ($1)""",
        ids,
        status,
    )
    await OutcomeRelay(dispatcher, RecordingPublisher(), batch=100).relay()
    return event


async def _post(sender: WebhookSender) -> int:
    begun = await sender.begin()
    await sender.idle()
    return begun


async def _messages(producer: Producer, endpoint: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    page = await producer.get(f"{_ENDPOINTS}/{endpoint['id']}/messages", params=params)
    assert page.status_code == 200, page.text
    rows: list[dict[str, Any]] = page.json()["data"]
    return rows


async def _shown(producer: Producer, endpoint: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = (await producer.get(f"{_ENDPOINTS}/{endpoint['id']}")).json()
    return shown


def _is_signed(asked: Asked, secret: str) -> bool:
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.content
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in asked.headers["webhook-signature"].split(" ")


async def test_an_outcome_is_posted_signed_with_what_the_producer_knows_it_by(
    producer: Producer, world: World, dispatcher: Pool, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    endpoint = await _endpoint(producer, receiver)
    event = await _outcome(world, dispatcher, "dead")
    assert await _post(sender) == 1
    (asked,) = receiver.asked
    assert _is_signed(asked, endpoint["secret"])
    assert not _is_signed(asked, "whsec_AAAA")
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
    (message,) = await _messages(producer, endpoint)
    assert (message["id"], message["status"]) == (asked.headers["webhook-id"], "delivered")
    assert await _post(sender) == 0


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
    await _endpoint(other, receiver)
    await _endpoint(producer, receiver, states=["failed", "dead"], channels=["whatsapp"])
    await _outcome(world, dispatcher, "sent", Channel.WHATSAPP)
    await _outcome(world, dispatcher, "dead", Channel.EMAIL)
    await _outcome(world, dispatcher, "dead", Channel.WHATSAPP)
    assert await _post(sender) == 1
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
    endpoint = await _endpoint(producer, receiver)
    await _outcome(world, dispatcher)
    await _post(sender)
    (message,) = await _messages(producer, endpoint)
    assert (message["status"], message["attempt"], message["code"]) == ("waiting", 1, 503)
    due = datetime.fromisoformat(message["due_at"]) - datetime.now(UTC)
    assert timedelta(0) < due < timedelta(seconds=DELAYS[0] * 1.2)
    assert (await _shown(producer, endpoint))["failing_since"] is not None
    assert await _post(sender) == 0  # it is not due
    await owner.execute("UPDATE carillon.webhook_messages SET due_at = now()")
    await _post(sender)
    (message,) = await _messages(producer, endpoint)
    assert (message["status"], message["attempt"]) == ("delivered", 2)
    assert (await _shown(producer, endpoint))["failing_since"] is None
    first, second = receiver.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.content == second.content


async def test_after_the_last_attempt_it_has_failed_and_can_be_recovered(
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {}, status=500)
    endpoint = await _endpoint(producer, receiver)
    await _outcome(world, dispatcher)
    await owner.execute("UPDATE carillon.webhook_messages SET attempt = $1", len(DELAYS))
    await _post(sender)
    (message,) = await _messages(producer, endpoint, status="failed")
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {})
    since = {"since": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    path = f"{_ENDPOINTS}/{endpoint['id']}:recover"
    assert (await producer.call("POST", path, json=since)).json() == {"recovered": 0}
    recovered = await producer.call("POST", path, json={"since": _LONG_AGO})
    assert recovered.json() == {"recovered": 1}
    await _post(sender)
    (again,) = await _messages(producer, endpoint, status="delivered")
    assert again["id"] == message["id"]


async def test_an_endpoint_that_fails_for_days_is_disabled_and_its_messages_kept(
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {}, status=500)
    endpoint = await _endpoint(producer, receiver)
    await owner.execute("UPDATE carillon.webhook_endpoints SET failing_since = now() - interval '6 days'")
    await _outcome(world, dispatcher, "sent")
    await _outcome(world, dispatcher, "dead")
    await _post(sender)
    shown = await _shown(producer, endpoint)
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "failing")
    await _outcome(world, dispatcher, "failed")  # while it is disabled
    assert len(await _messages(producer, endpoint, status="failed")) == 3
    assert await _post(sender) == 0
    path = f"{_ENDPOINTS}/{endpoint['id']}"
    assert (await producer.call("POST", f"{path}:recover", json={"since": _LONG_AGO})).status_code == 409
    enabled = (await producer.call("PATCH", path, json={"enabled": True})).json()
    assert (enabled["enabled"], enabled["failing_since"]) == (True, None)
    recovered = await producer.call("POST", f"{path}:recover", json={"since": _LONG_AGO})
    assert recovered.json() == {"recovered": 3}


async def test_an_endpoint_that_is_gone_is_disabled_at_once(
    producer: Producer, world: World, dispatcher: Pool, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {}, status=410)
    endpoint = await _endpoint(producer, receiver)
    await _outcome(world, dispatcher)
    await _post(sender)
    assert (await _shown(producer, endpoint))["disabled_reason"] == "gone"
    assert [one["status"] for one in await _messages(producer, endpoint)] == ["failed"]


async def test_redirects_are_not_followed(
    producer: Producer, world: World, dispatcher: Pool, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {}, status=307)
    endpoint = await _endpoint(producer, receiver)
    await _outcome(world, dispatcher)
    await _post(sender)
    (message,) = await _messages(producer, endpoint)
    assert (message["status"], message["code"]) == ("waiting", 307)
    assert "redirect" in message["error"]


async def test_addresses_inside_are_refused_unless_they_are_allowed(
    producer: Producer, world: World, dispatcher: Pool, receiver: ScriptedServer
) -> None:
    strict = WebhookClient(AddressGuard(()), seconds=5, connections=10)
    endpoint = await _endpoint(producer, receiver)
    await _outcome(world, dispatcher)
    await _post(_sender(dispatcher, strict))
    await strict.aclose()
    (message,) = await _messages(producer, endpoint)
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

    await _endpoint(producer, receiver, url="https://slow.example/slow")
    await _endpoint(producer, receiver, url="https://quick.example/quick")
    sender = _sender(dispatcher, Slow())
    await _outcome(world, dispatcher)
    assert await sender.begin() == 2
    await _outcome(world, dispatcher)
    async with asyncio.timeout(20):
        while len(posted) < 2:
            await sender.begin()
            await asyncio.sleep(0)
    assert posted == ["https://quick.example/quick"] * 2
    release.set()
    await sender.idle()
    assert await _post(sender) == 1


async def test_two_dispatchers_post_each_message_once(
    producer: Producer, world: World, dispatcher: Pool, client: WebhookClient, receiver: ScriptedServer
) -> None:
    await _endpoint(producer, receiver)
    for _ in range(12):
        await _outcome(world, dispatcher)
    senders = [_sender(dispatcher, client) for _ in range(2)]

    async def work(sender: WebhookSender) -> None:
        while await _post(sender):
            pass

    await asyncio.gather(*map(work, senders))
    ids = [asked.headers["webhook-id"] for asked in receiver.asked]
    assert len(ids) == len(set(ids)) == 12


async def test_both_secrets_sign_for_a_day_after_a_change(
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    endpoint = await _endpoint(producer, receiver)
    rotated = (await producer.call("POST", f"{_ENDPOINTS}/{endpoint['id']}:rotate-secret")).json()
    await _outcome(world, dispatcher)
    await _post(sender)
    assert _is_signed(receiver.asked[0], endpoint["secret"])
    assert _is_signed(receiver.asked[0], rotated["secret"])
    await owner.execute("UPDATE carillon.webhook_endpoints SET old_secret_until = now()")
    await _outcome(world, dispatcher)
    await _post(sender)
    assert not _is_signed(receiver.asked[1], endpoint["secret"])
    assert _is_signed(receiver.asked[1], rotated["secret"])


async def test_a_test_message_is_posted(
    producer: Producer, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    endpoint = await _endpoint(producer, receiver)
    answer = await producer.call("POST", f"{_ENDPOINTS}/{endpoint['id']}:test")
    assert answer.status_code == 202
    await _post(sender)
    assert receiver.asked[0].body["type"] == "test"
    assert receiver.asked[0].headers["webhook-id"] == answer.json()["message_id"]


async def test_endpoints_are_listed_changed_and_removed_and_their_secret_is_shown_once(
    api: Api, producer: Producer, owner: Pool, receiver: ScriptedServer
) -> None:
    made = [await _endpoint(producer, receiver, description=f"n{n}") for n in range(3)]
    listed = (await producer.get(_ENDPOINTS, params={"limit": 2})).json()
    more = (await producer.get(_ENDPOINTS, params={"cursor": listed["next_cursor"]})).json()
    rows = listed["data"] + more["data"]
    assert {row["id"] for row in rows} == {one["id"] for one in made}
    assert not any("secret" in row for row in rows)
    path = f"{_ENDPOINTS}/{made[0]['id']}"
    changed = (await producer.call("PATCH", path, json={"states": ["sent"], "enabled": False})).json()
    assert (changed["states"], changed["disabled_reason"]) == (["sent"], "operator")
    other = await make_producer(api, owner, "globex")
    for method, where in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}:test")):
        assert (await other.call(method, where, json={})).status_code == 404
    assert (await other.call("POST", f"{path}:rotate-secret")).status_code == 404
    assert (await producer.call("DELETE", path)).status_code == 204
    assert (await producer.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "ftp://example.org/"}, "/url"),
        ({"url": "https://user:pass@example.org/"}, "/url"),
        ({"url": "https://example.org/#part"}, "/url"),
        ({"url": "https://example.org:99999/"}, "/url"),
        ({"url": "https://[::1"}, "/url"),
        ({"url": "https://exämple.org/"}, "/url"),
        ({"url": "https://example.org/", "states": ["queued"]}, "/states/0"),
        ({"url": "https://example.org/", "states": []}, "/states"),
        ({"url": "https://example.org/", "channels": ["fax"]}, "/channels/0"),
        ({"url": "https://example.org/", "secret": "mine"}, "/secret"),
    ],
)
async def test_a_wrong_endpoint_is_refused_with_its_place(
    producer: Producer, body: dict[str, Any], pointer: str
) -> None:
    answer = await producer.call("POST", _ENDPOINTS, json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_the_api_cannot_read_secrets(migrated: MigratedDatabase, producer: Producer) -> None:
    assert producer
    pool = await migrated.pool("carillon_api")
    readable = await pool.fetchval(
        "SELECT has_column_privilege('carillon_api', 'carillon.webhook_endpoints', 'secret', 'SELECT')"
    )
    await pool.close()
    assert readable is False


async def test_old_messages_are_cleared_away(
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    endpoint = await _endpoint(producer, receiver)
    await _outcome(world, dispatcher)
    await _post(sender)
    await _outcome(world, dispatcher)
    house = Housekeeping(dispatcher, duplicate_days=7, webhook_days=14, batch=100)
    assert await house.clear_webhooks() == 0
    await owner.execute("UPDATE carillon.webhook_messages SET created_at = now() - interval '15 days'")
    assert await house.clear_webhooks() == 1
    assert [one["status"] for one in await _messages(producer, endpoint)] == ["waiting"]
