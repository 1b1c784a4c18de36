"""A real API over HTTP in this process, for tests of feeds and streams, and people with feeds."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx2
import uvicorn
from carillon_api.app import create_app
from carillon_api.services import Services
from carillon_api.settings import ApiSettings
from carillon_shared.broker import BrokerSession, declare, live
from carillon_shared.contracts.messages import LiveChunk, LiveFrame
from carillon_shared.credentials import SCOPES, hash_secret, make_api_key
from carillon_shared.db.pool import Pool, transaction
from carillon_shared.lifecycle import Shutdown
from carillon_shared.topology.carillon import LIVE
from carillon_shared.topology.model import Topology
from support.migrated import MigratedDatabase

HOST = "127.0.0.1"
PEPPER = "a pepper that only tests know, 32 characters"
TOKEN_SECRET = "a secret that only tests know, 32 characters"
_START_SECONDS = 20.0


@dataclass(slots=True)
class LiveApi:
    """One replica."""

    port: int
    services: Services
    shutdown: Shutdown

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@dataclass(slots=True)
class Tenant:
    """One customer, with the owner's hands in the database."""

    pool: Pool
    id: int
    slug: str
    key: str
    session: BrokerSession
    unsent: list[LiveChunk] = field(default_factory=list)

    async def add_item(self, subscriber: str, *, announce: bool = True, **fields: Any) -> dict[str, Any]:
        """Write an item into a feed as the in-app worker does, and announce it."""
        item: dict[str, Any] = {
            "title": "Hello",
            "body": "There",
            "action_url": None,
            "data": {"n": 1},
        } | fields
        row = await self._write(subscriber, item)
        if announce:
            await self.announce(subscriber, row, item)
        return row | item

    async def add_many(self, subscriber: str, count: int, *, body: str) -> None:
        """Write many items into a feed at once and announce each."""
        item: dict[str, Any] = {"title": "Many", "body": body, "action_url": None, "data": {}}
        for _ in range(count):
            row = await self._write(subscriber, item)
            self.unsent.append(self._chunk(subscriber, row, item))
        await self._publish()

    async def announce(self, subscriber: str, row: dict[str, Any], item: dict[str, Any]) -> None:
        self.unsent.append(self._chunk(subscriber, row, item))
        await self._publish()

    def _chunk(self, subscriber: str, row: dict[str, Any], item: dict[str, Any]) -> LiveChunk:
        tail = {
            "event_id": str(row["event_id"]),
            "type": "message",
            "category": "general",
            "priority": "normal",
            "created_at": row["created_at"].isoformat().replace("+00:00", "Z"),
            **item,
        }
        head = LiveFrame(
            subscriber=subscriber,
            seq=row["seq"],
            unread=row["unread"],
            unseen=row["unseen"],
            item_id=UUID(str(row["id"])),
            tail=0,
        )
        return LiveChunk(tenant=self.slug, event="notification", tails=[tail], frames=[head])

    async def _publish(self) -> None:
        outgoing = [live(chunk, message_id=uuid4().hex) for chunk in self.unsent]
        self.unsent.clear()
        assert set(await self.session.publisher.publish_many(outgoing)) == {None}

    async def _write(self, subscriber: str, item: dict[str, Any]) -> dict[str, Any]:
        async with transaction(self.pool) as connection:
            feed = await connection.fetchrow(
                """INSERT INTO carillon.feeds AS f (tenant_id, subscriber, seq, unread, unseen)
                   SELECT tenant_id, number, 1, 1, 1 FROM carillon.subscribers
                   WHERE tenant_id = $1 AND id = $2
                   ON CONFLICT (tenant_id, subscriber) DO UPDATE
                   SET seq = f.seq + 1, unread = f.unread + 1, unseen = f.unseen + 1
                   RETURNING subscriber, seq, unread, unseen""",
                self.id,
                subscriber,
            )
            assert feed is not None, f"{subscriber} is not registered"
            row = await connection.fetchrow(
                """INSERT INTO carillon.feed_items (
                       id, tenant_id, subscriber, event_id, seq, attention_seq, type, category, priority,
                       title, body, action_url, data)
                   VALUES (carillon.new_event_id(clock_timestamp()), $1, $2,
                           carillon.new_event_id(clock_timestamp()), $3, $3, 'message', 'general', 'normal',
                           $4, $5, $6, $7)
                   RETURNING id, event_id, seq, created_at""",
                self.id,
                feed["subscriber"],
                feed["seq"],
                item["title"],
                item["body"],
                item["action_url"],
                item["data"],
            )
            assert row is not None
        return dict(feed) | dict(row)

    async def add_people(self, *ids: str) -> None:
        await self.pool.executemany(
            "INSERT INTO carillon.subscribers (tenant_id, id) VALUES ($1, $2)",
            [(self.id, each) for each in ids],
        )

    def client(self, api: LiveApi) -> "Client":
        """Return a client with this tenant's API key."""
        return Client(api.url, self.key)


class Client:
    """Calls the API with one credential."""

    def __init__(self, url: str, credential: str) -> None:
        self.url = url
        self.credential = credential

    async def call(self, method: str, path: str, *, expect: int | None = 200, **options: Any) -> Any:
        """Return the JSON answer, which must have this status; the response itself with ``expect=None``."""
        headers = {"Authorization": f"Bearer {self.credential}"} | options.pop("headers", {})
        async with httpx2.AsyncClient(base_url=self.url, timeout=20) as http:
            reply = await http.request(method, path, headers=headers, **options)
        if expect is None:
            return reply
        assert reply.status_code == expect, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    async def person(self, subscriber: str, **claims: Any) -> "Client":
        """Return a client with a token of this person."""
        made = await self.call("POST", f"/v1/subscribers/{subscriber}/tokens", json=claims, expect=201)
        return Client(self.url, made["token"])


@asynccontextmanager
async def running_api(migrated: MigratedDatabase, broker_url: str, **settings: Any) -> AsyncIterator[LiveApi]:
    """Serve the API on a free port until the block ends."""
    await declare(broker_url, topology=Topology((LIVE,), (), ()))
    shutdown = Shutdown()
    values: dict[str, Any] = {
        "database_url": migrated.url("carillon_api"),
        "broker_url": broker_url,
        "api_token_secret": TOKEN_SECRET,
        "api_key_pepper": PEPPER,
        "api_stream_compare_seconds": 3_600,
    } | settings
    app = create_app(ApiSettings(**values), shutdown=shutdown)
    config = uvicorn.Config(
        app, host=HOST, port=0, http="httptools", ws="none", lifespan="on", log_config=None, access_log=False
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        port = await _port(server, serving)
        await app.state.services.broker.wait_connected()
        for subscription in app.state.services.broker._subscriptions:
            await subscription.wait_consuming()
        yield LiveApi(port, app.state.services, shutdown)
    finally:
        shutdown.request()
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves the signals to the test run."""

    def install_signal_handlers(self) -> None:
        pass

    @property
    def port(self) -> int | None:
        """The port it listens on, once it does."""
        return self.servers[0].sockets[0].getsockname()[1] if self.started and self.servers else None


async def _port(server: _Server, serving: "asyncio.Task[None]") -> int:
    async with asyncio.timeout(_START_SECONDS):
        while server.port is None:
            assert not serving.done(), f"the server ended: {serving}"
            await asyncio.sleep(0.01)
    return server.port


@asynccontextmanager
async def open_tenant(
    migrated: MigratedDatabase, broker_url: str, slug: str = "acme"
) -> AsyncIterator[Tenant]:
    """Create a tenant with an API key that may do everything."""
    await declare(broker_url, topology=Topology((LIVE,), (), ()))
    pool = await migrated.pool("carillon_owner", max_size=4)
    tenant_id = await pool.fetchval(
        "INSERT INTO carillon.tenants (slug, name) VALUES ($1, $1) RETURNING id", slug
    )
    try:
        async with BrokerSession(broker_url, name=f"test-{slug}") as session:
            await session.publisher.wait_connected()
            yield Tenant(pool, tenant_id, slug, await make_key(pool, tenant_id), session)
    finally:
        await pool.close()


async def make_key(pool: Pool, tenant_id: int, *scopes: str) -> str:
    """Store an API key with these scopes, or all."""
    key = make_api_key()
    await pool.execute(
        "INSERT INTO carillon.api_keys (id, tenant_id, secret_hash, scopes) VALUES ($1, $2, $3, $4)",
        key.id,
        tenant_id,
        hash_secret(key.secret, pepper=PEPPER.encode()),
        list(scopes or SCOPES),
    )
    return str(key)


def some_id() -> str:
    """Return an id that no other test has."""
    return f"u-{secrets.token_hex(4)}"
