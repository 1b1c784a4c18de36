"""The whole API in this process, called through ASGI, with tenants whose keys open it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from carillon_api.app import create_app
from carillon_api.services import Services
from carillon_api.settings import ApiSettings
from carillon_shared.db.pool import Pool
from support.live_api import PEPPER, TOKEN_SECRET, make_key

NO_BROKER = "amqp://guest:guest@127.0.0.1:1/"
OWN_RULE = {"users": ["{{ data.owner }}"]}


@dataclass(frozen=True, slots=True)
class Api:
    """One replica."""

    http: httpx2.AsyncClient
    services: Services


@dataclass(frozen=True, slots=True)
class Producer:
    """A service of one tenant."""

    http: httpx2.AsyncClient
    key: str
    tenant_id: int
    tenant: str

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    async def post(self, body: Any, **options: Any) -> httpx2.Response:
        return await self.call("POST", "/v1/events", json=body, **options)

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.call("GET", path, **options)


@asynccontextmanager
async def open_api(database_url: str, *, broker_url: str = NO_BROKER, **settings: Any) -> AsyncIterator[Api]:
    """Start a replica and stop it after the block. Without a broker unless one is given."""
    values = {
        "database_url": database_url,
        "broker_url": broker_url,
        "api_token_secret": TOKEN_SECRET,
        "api_key_pepper": PEPPER,
    }
    app = create_app(ApiSettings.model_validate(values | settings))
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://api.test", timeout=30) as http,
    ):
        yield Api(http, app.state.services)


async def make_producer(
    api: Api, owner: Pool, slug: str = "acme", *, scopes: tuple[str, ...] = ()
) -> Producer:
    """Create a tenant (once) with the type `ticket.changed`, and a key of it."""
    tenant_id = await owner.fetchval(
        """INSERT INTO carillon.tenants (slug, name) VALUES ($1, $1)
           ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id""",
        slug,
    )
    await make_type(owner, tenant_id, "ticket.changed", audience=OWN_RULE)
    return Producer(api.http, await make_key(owner, tenant_id, *scopes), tenant_id, slug)


async def make_type(owner: Pool, tenant_id: int, name: str, **columns: Any) -> None:
    """Register an event type; `columns` as they are stored."""
    values = {"channels": ["inapp", "email"]} | columns
    names = ", ".join(values)
    places = ", ".join(f"${n}" + _CASTS.get(column, "") for n, column in enumerate(values, start=3))
    await owner.execute(
        f"""INSERT INTO carillon.event_types (tenant_id, name, {names}) VALUES ($1, $2, {places})
            ON CONFLICT DO NOTHING""",
        tenant_id,
        name,
        *values.values(),
    )


_CASTS = {"channels": "::text[]::carillon.channel[]", "lane": "::text::carillon.lane"}


def pointers(response: httpx2.Response) -> list[str]:
    """Return what a 422 points at."""
    return [error.get("pointer", error.get("parameter", "")) for error in response.json()["errors"]]
