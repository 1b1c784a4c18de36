from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from support.live_api import Client, LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase
from support.sse import sse

_PAGE = "https://app.example.org"
_OTHER_TENANTS = "https://globex.example.com"
_STRANGER = "https://evil.example.net"


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str, api: LiveApi) -> AsyncIterator[Tenant]:
    async with (
        open_tenant(migrated, broker_url) as made,
        open_tenant(migrated, broker_url, "globex") as other,
    ):
        await made.add_people("u-7")
        for each, origins in ((made, [_PAGE, "http://localhost:3000"]), (other, [_OTHER_TENANTS])):
            await each.client(api).call("PUT", "/v1/tenant/origins", json={"origins": origins})
        yield made


async def _preflight(api: LiveApi, origin: str, path: str = "/v1/inbox") -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with httpx2.AsyncClient() as http:
        return await http.options(api.url + path, headers=asked)


async def _get(client: Client, origin: str, path: str = "/v1/inbox") -> Any:
    return await client.call("GET", path, headers={"Origin": origin}, expect=None)


@pytest.mark.parametrize("origin", [_PAGE, "http://localhost:3000"])
async def test_a_listed_page_may_call(api: LiveApi, tenant: Tenant, origin: str) -> None:
    allowed = await _preflight(api, origin)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == origin
    assert allowed.headers["access-control-allow-headers"] == "Authorization, Last-Event-ID, Content-Type"
    assert "Origin" in allowed.headers["vary"]
    person = await tenant.client(api).person("u-7")
    reply = await _get(person, origin)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, origin)
    assert "Origin" in reply.headers["vary"]
    async with sse(api.url, token=person.credential, Origin=origin) as stream:
        assert stream.headers["access-control-allow-origin"] == origin


async def test_an_unlisted_page_may_not(api: LiveApi, tenant: Tenant) -> None:
    refused = await _preflight(api, _STRANGER)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    reply = await _get(await tenant.client(api).person("u-7"), _STRANGER)
    assert "access-control-allow-origin" not in reply.headers
    assert "Origin" in reply.headers["vary"]


async def test_another_tenants_page_passes_the_preflight_and_no_more(api: LiveApi, tenant: Tenant) -> None:
    assert (await _preflight(api, _OTHER_TENANTS)).status_code == 204
    reply = await _get(await tenant.client(api).person("u-7"), _OTHER_TENANTS)
    assert "access-control-allow-origin" not in reply.headers


async def test_a_listed_page_can_tell_that_its_token_has_expired(api: LiveApi, tenant: Tenant) -> None:
    reply = await _get(Client(api.url, "expired"), _PAGE)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (401, _PAGE)
    reply = await _get(Client(api.url, "expired"), _STRANGER)
    assert "access-control-allow-origin" not in reply.headers


async def test_routes_for_services_answer_no_page(api: LiveApi, tenant: Tenant) -> None:
    assert "access-control-allow-origin" not in (await _preflight(api, _PAGE, "/v1/events")).headers
    reply = await _get(tenant.client(api), _PAGE, "/v1/event-types")
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


async def test_a_removed_origin_is_refused(api: LiveApi, tenant: Tenant) -> None:
    person = await tenant.client(api).person("u-7")
    await tenant.client(api).call("PUT", "/v1/tenant/origins", json={"origins": []})
    assert "access-control-allow-origin" not in (await _get(person, _PAGE)).headers
