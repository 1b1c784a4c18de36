"""Digests and frequency caps as the registry and the tenant's defaults speak of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.live_api import Client, LiveApi, Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase

_DIGESTING: dict[str, Any] = {
    "channels": ["inapp", "email"],
    "digest": {
        "window": "10m",
        "sliding": True,
        "max_window": "1h",
        "key": "data.ticket.id",
        "first_at_once": True,
    },
    "frequency_cap": False,
}


@pytest.fixture
async def api(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[LiveApi]:
    async with running_api(migrated, broker_url) as running:
        yield running


@pytest.fixture
async def tenant(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Tenant]:
    async with open_tenant(migrated, broker_url) as made:
        yield made


@pytest.fixture
def client(api: LiveApi, tenant: Tenant) -> Client:
    return tenant.client(api)


async def test_a_digest_is_kept_as_it_was_written(client: Client, tenant: Tenant) -> None:
    stored = await client.call("PUT", "/v1/event-types/a.b", json=_DIGESTING, expect=201)
    assert stored["digest"] == _DIGESTING["digest"] | {"channels": ["email"]}
    assert stored["frequency_cap"] is False
    assert await tenant.pool.fetchval("SELECT digest FROM carillon.event_types") == {
        "key": ["ticket", "id"],
        "window": "sliding",
        "seconds": 600,
        "max_seconds": 3600,
        "first_at_once": True,
        "channels": ["email"],
    }
    again = {name: stored[name] for name in ("channels", "digest", "frequency_cap")}
    assert (await client.call("PUT", "/v1/event-types/a.b", json=again))["digest"] == stored["digest"]
    assert (await client.call("GET", "/v1/event-types/a.b"))["digest"] == stored["digest"]


@pytest.mark.parametrize(
    ("digest", "channels"),
    [
        ({"window": "10m", "channels": ["inapp"]}, ["inapp", "email"]),
        ({"window": "10m", "channels": ["whatsapp"]}, ["inapp", "email"]),
        ({"window": "10m"}, ["inapp"]),
        ({"window": "10m", "sliding": True}, ["email"]),
        ({"window": "10m", "max_window": "1h"}, ["email"]),
        ({"window": "10m", "sliding": True, "max_window": "1m"}, ["email"]),
        ({"window": "31d"}, ["email"]),
        ({"window": "10m", "key": "ticket"}, ["email"]),
    ],
)
async def test_a_wrong_digest_is_refused(client: Client, digest: dict[str, Any], channels: list[str]) -> None:
    body = {"channels": channels, "digest": digest}
    problem = await client.call("PUT", "/v1/event-types/a.b", json=body, expect=422)
    assert any("digest" in str(error) for error in problem["errors"])


async def test_frequency_caps_are_the_tenants(client: Client, tenant: Tenant) -> None:
    caps = {
        "default": {"limit": 5, "per": "1d", "channels": ["email"]},
        "categories": {
            "news": {"limit": 1, "per": "1w", "channels": ["email", "whatsapp"]},
            "security": None,
        },
    }
    await client.call("PUT", "/v1/tenant/defaults", json={"frequency_caps": caps})
    assert (await client.call("GET", "/v1/tenant/defaults"))["frequency_caps"] == caps
    assert await tenant.pool.fetchval("SELECT frequency_caps FROM carillon.tenants") == {
        "default": {"limit": 5, "per_seconds": 86400, "channels": ["email"]},
        "categories": {
            "news": {"limit": 1, "per_seconds": 604800, "channels": ["email", "whatsapp"]},
            "security": None,
        },
    }
    wrong = {"default": {"limit": 5, "per": "1d", "channels": ["inapp"]}}
    await client.call("PUT", "/v1/tenant/defaults", json={"frequency_caps": wrong}, expect=422)


async def test_only_carillon_itself_sends_digests(client: Client) -> None:
    await client.call("PUT", "/v1/event-types/carillon.digest", json={"channels": ["email"]}, expect=201)
    event = {"type": "carillon.digest", "data": {"items": []}, "audience": {"users": ["u-7"]}}
    problem = await client.call("POST", "/v1/events", json=event, expect=422)
    assert "/type" in {error["pointer"] for error in problem["errors"]}
