"""Endpoints of webhooks: made, changed, disabled, recovered."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from carillon_dispatcher.sweepers.housekeeping import Housekeeping
from carillon_dispatcher.webhooks.guard import AddressGuard, networks
from carillon_dispatcher.webhooks.posting import WebhookClient
from carillon_dispatcher.webhooks.retrying import DELAYS
from carillon_dispatcher.webhooks.sending import WebhookSender
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.scripted_http import ScriptedServer, scripted_server
from support.webhooks import (
    ENDPOINTS,
    is_signed,
    make_endpoint,
    make_outcome,
    make_sender,
    messages_to,
    post_due,
    shown_endpoint,
)
from support.world import World

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
    return make_sender(dispatcher, client)


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
    endpoint = await make_endpoint(producer, receiver)
    await make_outcome(world, dispatcher)
    await owner.execute("UPDATE carillon.webhook_messages SET attempt = $1", len(DELAYS))
    await post_due(sender)
    (message,) = await messages_to(producer, endpoint, status="failed")
    receiver.answers.clear()
    receiver.answer("POST", "/hook", {})
    since = {"since": (datetime.now(UTC) + timedelta(minutes=1)).isoformat()}
    path = f"{ENDPOINTS}/{endpoint['id']}:recover"
    assert (await producer.call("POST", path, json=since)).json() == {"recovered": 0}
    recovered = await producer.call("POST", path, json={"since": _LONG_AGO})
    assert recovered.json() == {"recovered": 1}
    await post_due(sender)
    (again,) = await messages_to(producer, endpoint, status="delivered")
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
    endpoint = await make_endpoint(producer, receiver)
    await owner.execute("UPDATE carillon.webhook_endpoints SET failing_since = now() - interval '6 days'")
    await make_outcome(world, dispatcher, "sent")
    await make_outcome(world, dispatcher, "dead")
    await post_due(sender)
    shown = await shown_endpoint(producer, endpoint)
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "failing")
    await make_outcome(world, dispatcher, "failed")  # while it is disabled
    assert len(await messages_to(producer, endpoint, status="failed")) == 3
    assert await post_due(sender) == 0
    path = f"{ENDPOINTS}/{endpoint['id']}"
    assert (await producer.call("POST", f"{path}:recover", json={"since": _LONG_AGO})).status_code == 409
    enabled = (await producer.call("PATCH", path, json={"enabled": True})).json()
    assert (enabled["enabled"], enabled["failing_since"]) == (True, None)
    recovered = await producer.call("POST", f"{path}:recover", json={"since": _LONG_AGO})
    assert recovered.json() == {"recovered": 3}


async def test_both_secrets_sign_for_a_day_after_a_change(
    producer: Producer,
    world: World,
    owner: Pool,
    dispatcher: Pool,
    sender: WebhookSender,
    receiver: ScriptedServer,
) -> None:
    endpoint = await make_endpoint(producer, receiver)
    rotated = (await producer.call("POST", f"{ENDPOINTS}/{endpoint['id']}:rotate-secret")).json()
    await make_outcome(world, dispatcher)
    await post_due(sender)
    assert is_signed(receiver.asked[0], endpoint["secret"])
    assert is_signed(receiver.asked[0], rotated["secret"])
    await owner.execute("UPDATE carillon.webhook_endpoints SET old_secret_until = now()")
    await make_outcome(world, dispatcher)
    await post_due(sender)
    assert not is_signed(receiver.asked[1], endpoint["secret"])
    assert is_signed(receiver.asked[1], rotated["secret"])


async def test_a_test_message_is_posted(
    producer: Producer, sender: WebhookSender, receiver: ScriptedServer
) -> None:
    endpoint = await make_endpoint(producer, receiver)
    answer = await producer.call("POST", f"{ENDPOINTS}/{endpoint['id']}:test")
    assert answer.status_code == 202
    await post_due(sender)
    assert receiver.asked[0].body["type"] == "test"
    assert receiver.asked[0].headers["webhook-id"] == answer.json()["message_id"]


async def test_endpoints_are_listed_changed_and_removed_and_their_secret_is_shown_once(
    api: Api, producer: Producer, owner: Pool, receiver: ScriptedServer
) -> None:
    made = [await make_endpoint(producer, receiver, description=f"n{n}") for n in range(3)]
    listed = (await producer.get(ENDPOINTS, params={"limit": 2})).json()
    more = (await producer.get(ENDPOINTS, params={"cursor": listed["next_cursor"]})).json()
    rows = listed["data"] + more["data"]
    assert {row["id"] for row in rows} == {one["id"] for one in made}
    assert not any("secret" in row for row in rows)
    path = f"{ENDPOINTS}/{made[0]['id']}"
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
    answer = await producer.call("POST", ENDPOINTS, json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_the_api_cannot_read_secrets(migrated: MigratedDatabase) -> None:
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
    endpoint = await make_endpoint(producer, receiver)
    await make_outcome(world, dispatcher)
    await post_due(sender)
    await make_outcome(world, dispatcher)
    house = Housekeeping(dispatcher, duplicate_days=7, webhook_days=14, batch=100)
    assert await house.clear_webhooks() == 0
    await owner.execute("UPDATE carillon.webhook_messages SET created_at = now() - interval '15 days'")
    assert await house.clear_webhooks() == 1
    assert [one["status"] for one in await messages_to(producer, endpoint)] == ["waiting"]
