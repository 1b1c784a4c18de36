"""The primary dies under load and its synchronous standby takes over; services keep their URL."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from carillon_shared.db.hosts import Hosts
from carillon_shared.db.transient import is_transient
from support.faults.database_ground import DatabaseGround
from support.faults.invariants import check
from support.faults.standby import make_standby, promote, superuser_url
from support.faults.traffic import traffic
from support.migrated import MigratedDatabase
from support.services import PostgresService

pytestmark = [pytest.mark.timeout(400), pytest.mark.extended]


async def test_a_promoted_standby_has_all_that_was_accepted(database_ground: DatabaseGround) -> None:
    ground = database_ground
    platform, primary = ground.platform, ground.postgres
    standby = ground.servers.new_postgres("standby")
    await make_standby(primary, standby)
    before = platform.database
    url = superuser_url(primary, standby)
    there = _on(url, before)
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


def _on(superuser_url: str, database: MigratedDatabase) -> MigratedDatabase:
    """Return the same database on another server."""
    return replace(database, service=PostgresService(superuser_url, database.service.secrets))
