from collections.abc import AsyncIterator

import pytest
from support.live_api import Client, LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase
from support.sse import Sse, sse


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        await made.add_people("u-7")
        yield made


@pytest.fixture
async def person(api: LiveApi, tenant: Tenant) -> Client:
    return await tenant.client(api).person("u-7", topics=["job:17"])


async def _ready(stream: Sse) -> None:
    assert stream.status == 200
    assert (await stream.next()).event == "ready"


def _path(ticket: str, more: str = "") -> str:
    return f"/v1/inbox/stream?ticket={ticket}{more}"


async def test_a_ticket_opens_the_stream_and_may_reopen_it(person: Client, tenant: Tenant) -> None:
    ticket = (await person.call("POST", "/v1/inbox/ticket", expect=201))["ticket"]
    await tenant.add_item("u-7")
    async with sse(person.url, _path(ticket)) as stream:
        await _ready(stream)
    await tenant.pool.execute("UPDATE carillon.stream_tickets SET open_until = now() - interval '1 second'")
    async with sse(person.url, _path(ticket), last_event_id="0") as stream:
        await _ready(stream)
        assert (await stream.next()).id == "1"


async def test_a_ticket_not_opened_in_time_opens_nothing(person: Client, tenant: Tenant) -> None:
    ticket = (await person.call("POST", "/v1/inbox/ticket", expect=201))["ticket"]
    await tenant.pool.execute("UPDATE carillon.stream_tickets SET open_until = now() - interval '1 second'")
    async with sse(person.url, _path(ticket)) as stream:
        assert stream.status == 401


async def test_a_ticket_ends_with_the_token_it_came_from(person: Client, tenant: Tenant) -> None:
    ticket = (await person.call("POST", "/v1/inbox/ticket", expect=201))["ticket"]
    async with sse(person.url, _path(ticket)) as stream:
        await _ready(stream)
    await tenant.pool.execute("UPDATE carillon.stream_tickets SET token_expires_at = now()")
    async with sse(person.url, _path(ticket)) as stream:
        assert stream.status == 401


async def test_a_ticket_is_stored_hashed_and_good_for_nothing_else(person: Client, tenant: Tenant) -> None:
    ticket = (await person.call("POST", "/v1/inbox/ticket", expect=201))["ticket"]
    row = await tenant.pool.fetchrow("SELECT hash, topics FROM carillon.stream_tickets")
    assert row is not None
    assert ticket.encode() not in row["hash"]
    assert row["topics"] == ["job:17"]
    await Client(person.url, ticket).call("GET", "/v1/inbox", expect=401)
    await Client(person.url, "nonsense").call("GET", f"/v1/inbox?ticket={ticket}", expect=401)


@pytest.mark.parametrize("ticket", ["", "nonsense", "x" * 300])
async def test_what_is_no_ticket_opens_nothing(person: Client, ticket: str) -> None:
    async with sse(person.url, _path(ticket)) as stream:
        assert stream.status in {401, 422}


async def test_a_ticket_carries_the_tokens_topics(person: Client, tenant: Tenant, api: LiveApi) -> None:
    ticket = (await person.call("POST", "/v1/inbox/ticket", expect=201))["ticket"]
    async with sse(person.url, _path(ticket, "&topics=job:17")) as stream:
        await _ready(stream)
        body = {"topics": ["job:17"], "name": "job.progress", "data": {"percentage": 40}}
        await tenant.client(api).call("POST", "/v1/signals", json=body, expect=202)
        frame = await stream.next()
        assert (frame.event, frame.id, frame.data["data"]) == ("signal", None, {"percentage": 40})
    async with sse(person.url, _path(ticket, "&topics=job:17,job:18")) as stream:
        assert stream.status == 403
