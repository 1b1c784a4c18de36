"""The primary goes away under load and its synchronous standby takes over: behind one URL, or one of two."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest
from carillon_local.postgres import PostgresServer
from carillon_shared.db.hosts import Hosts
from carillon_shared.db.transient import is_transient
from support.faults.database_ground import USERS, DatabaseGround
from support.faults.database_ground import database_ground as run_database_ground
from support.faults.invariants import check
from support.faults.standby import fence, make_standby, promote, superuser_url
from support.faults.traffic import traffic
from support.local_servers import LocalServers
from support.migrated import MigratedDatabase
from support.platform import Platform
from support.services import PostgresService, RabbitmqService
from support.waiting import eventually

from .conftest import QUICK

pytestmark = [pytest.mark.timeout(400), pytest.mark.extended]


async def test_a_promoted_standby_has_all_that_was_accepted(database_ground: DatabaseGround) -> None:
    ground = database_ground
    platform, primary = ground.platform, ground.postgres
    standby = ground.servers.new_postgres("standby")
    await make_standby(primary, standby)
    url = superuser_url(primary, standby)
    there = _on(url, platform.database)
    # Nobody stays connected to a server that cannot be written.
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as caught:
        await Hosts(there.url(), seconds=10).connect()
    assert is_transient(caught.value)
    async with traffic(platform, rate=20) as flow:
        await flow.accepted(30)
        await asyncio.to_thread(primary.kill)
        ground.proxy.forward_to("127.0.0.1", standby.port)
        await promote(url)
        platform.database = there
        await flow.accepted(30)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()
    # A client that knows both finds the new one, whichever it asks first.
    both = there.url().replace(f":{standby.port}/", f":{primary.port},127.0.0.1:{standby.port}/")
    connection = await Hosts(both, seconds=10).connect()
    assert await connection.fetchval("SELECT inet_server_port()") == standby.port
    await connection.close()


@dataclass(frozen=True, slots=True)
class Pair:
    """A platform that knows a primary and its synchronous standby by one URL."""

    platform: Platform
    primary: PostgresServer
    standby: PostgresServer


@pytest.fixture
async def pair(rabbitmq: RabbitmqService, tmp_path: Path) -> AsyncIterator[Pair]:
    """Everything running, on two servers of the test's own."""
    servers = LocalServers(say=lambda _: None)
    extra = deepcopy(QUICK)
    try:
        async with run_database_ground(rabbitmq, tmp_path, servers=servers, extra=extra) as ground:
            platform, primary = ground.platform, ground.postgres
            standby = servers.new_postgres("standby")
            await make_standby(primary, standby)
            for name in USERS:
                url = platform.environment(name)["CARILLON_DATABASE_URL"]
                both = f":{primary.port},127.0.0.1:{standby.port}/"
                platform.extra[name]["CARILLON_DATABASE_URL"] = url.replace(f":{ground.proxy.port}/", both)
            await platform.stop(*USERS)
            await platform.start(*USERS)
            yield Pair(platform, primary, standby)
            await asyncio.to_thread(primary.kill)
    finally:
        servers.close()


async def _kill(primary: PostgresServer) -> None:
    await asyncio.to_thread(primary.kill)


async def _freeze(primary: PostgresServer) -> None:
    """It is gone and nobody is told: connections stay open."""
    await asyncio.to_thread(primary.pause)


async def _fence(primary: PostgresServer) -> None:
    """It runs on, with everybody connected, and takes no writes."""
    await fence(primary.superuser_url)


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(_kill, id="killed"),
        pytest.param(_freeze, id="frozen"),
        pytest.param(_fence, id="read-only"),
    ],
)
async def test_services_that_know_two_hosts_let_go_of_the_one_that_was_the_primary(
    pair: Pair, leave: Callable[[PostgresServer], Awaitable[None]]
) -> None:
    platform = pair.platform
    url = superuser_url(pair.primary, pair.standby)
    async with traffic(platform, rate=20) as flow:
        await flow.accepted(30)
        await leave(pair.primary)
        await promote(url)
        platform.database = _on(url, platform.database)
        await flow.accepted(30, seconds=120)
    (await check(platform, flow.ledger, seconds=180)).assert_clean()
    for name in USERS:
        await platform.ready(name)


async def test_what_the_standby_never_got_is_not_accepted(pair: Pair) -> None:
    """A commit whose wait for the standby was given up is kept by the primary alone. It is no promise."""
    tenant = await pair.platform.new_tenant()
    person = {"email": "somebody@example.org"}
    await tenant.call("PUT", "/v1/subscribers/somebody", json=person, expect=201)
    content = {"title": "Hello", "body": "There"}
    event = {"type": "message", "id": "only-here", "data": content, "audience": {"users": ["somebody"]}}
    await asyncio.to_thread(pair.standby.pause)
    try:
        for _ in range(2):
            reply = await tenant.http.post("/v1/events", json=event, timeout=40)
            assert reply.status_code == 503, reply.text
    finally:
        await asyncio.to_thread(pair.standby.resume)

    async def accepted() -> bool:
        return (await tenant.http.post("/v1/events", json=event, timeout=40)).status_code == 202

    await eventually(accepted, seconds=60, what="the event to be accepted once the standby follows")


def _on(superuser_url: str, database: MigratedDatabase) -> MigratedDatabase:
    """Return the same database on another server."""
    return replace(database, service=PostgresService(superuser_url, database.service.secrets))
