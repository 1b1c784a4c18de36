"""Pools: several hosts, the limits of waiting, and statements that a migration has made stale."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from carillon_shared.consumer.source import MessageSource
from carillon_shared.db import pool as pools
from carillon_shared.db.hosts import Hosts, one_url_each
from carillon_shared.db.migrate import is_current, migrate
from carillon_shared.db.pool import open_pool, transaction
from carillon_shared.db.transient import is_transient
from carillon_shared.delivery.watermark import WatermarkWriter
from support.migrated import MigratedDatabase


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a host that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def _after(host: str, url: str, *, query: str = "") -> str:
    """Return the URL with another host before its own."""
    place = urlsplit(url)
    login, _, own = place.netloc.rpartition("@")
    return urlunsplit(place._replace(netloc=f"{login}@{host},{own}", query=query))


def test_a_url_with_several_hosts_is_one_for_each() -> None:
    url = "postgresql://user:p%40ss@one:5432,two:6432/carillon?target_session_attrs=read-write"
    assert one_url_each(url) == [
        "postgresql://user:p%40ss@one:5432/carillon?target_session_attrs=read-write",
        "postgresql://user:p%40ss@two:6432/carillon?target_session_attrs=read-write",
    ]
    assert one_url_each("postgresql://one/carillon") == ["postgresql://one/carillon"]


@pytest.mark.parametrize("query", ["", "target_session_attrs=read-write"])
async def test_a_host_that_is_gone_is_passed_over(
    migrated: MigratedDatabase, refusing: str, query: str
) -> None:
    pool = await open_pool(_after(refusing, migrated.url(), query=query), name="test")
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_host_that_is_silent_costs_its_share_of_the_time_and_only_once(
    migrated: MigratedDatabase, silent: str
) -> None:
    pool = await open_pool(_after(silent, migrated.url()), name="test", min_size=0, max_size=2)
    async with pool.acquire() as first:  # waits for the silent host and goes on to the other
        assert await first.fetchval("SELECT 1") == 1
        began = monotonic()
        async with pool.acquire() as second:
            assert await second.fetchval("SELECT 1") == 1
        assert monotonic() - began < pools.CONNECT_SECONDS / 2  # asked the host that had answered first
    await pool.close()


async def test_migrations_take_the_same_url(migrated: MigratedDatabase, refusing: str) -> None:
    url = _after(refusing, migrated.url("carillon_owner"), query="target_session_attrs=read-write")
    await migrate(url)
    assert await is_current(url)


async def test_nobody_waits_for_a_connection_without_end(
    migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "CONNECT_SECONDS", 0.3)
    pool = await open_pool(migrated.url(), name="test", max_size=1)
    async with pool.acquire():
        with pytest.raises(TimeoutError) as caught:
            await pool.fetchval("SELECT 1")
        assert is_transient(caught.value)
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_statement_that_a_migration_made_stale_is_prepared_anew(migrated: MigratedDatabase) -> None:
    pool = await open_pool(migrated.url(), name="test", max_size=2)
    await pool.execute("CREATE TABLE changing (a integer)")
    await pool.execute("INSERT INTO changing VALUES (1)")
    async with pool.acquire() as first, pool.acquire() as second:
        await first.fetch("SELECT * FROM changing")
        await second.fetch("SELECT * FROM changing")
    await pool.execute("ALTER TABLE changing ADD COLUMN b integer DEFAULT 2")
    assert dict((await pool.fetch("SELECT * FROM changing"))[0]) == {"a": 1, "b": 2}
    await pool.execute("ALTER TABLE changing ADD COLUMN c integer DEFAULT 3")
    # Within a transaction the driver cannot try again by itself; whoever asked may.
    with pytest.raises(asyncpg.InvalidCachedStatementError) as caught:
        async with transaction(pool) as connection:
            await connection.fetch("SELECT * FROM changing")
    assert is_transient(caught.value)
    async with transaction(pool) as connection:
        assert len((await connection.fetch("SELECT * FROM changing"))[0]) == 3
    await pool.close()


async def test_a_dead_link_is_given_up_with_its_first_time_limit(
    migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "COMMAND_SECONDS", 0.5)
    pool = await open_pool(migrated.url(), name="test", max_size=1)
    before = await pool.fetchval("SELECT pg_backend_pid()")
    began = monotonic()
    with pytest.raises((TimeoutError, asyncpg.InterfaceError)) as caught:
        async with transaction(pool) as connection:
            await connection.execute("SELECT pg_sleep(20)")
    assert is_transient(caught.value)
    assert monotonic() - began < 5
    assert await pool.fetchval("SELECT pg_backend_pid()") != before
    await asyncio.wait_for(pool.close(), 5)


async def test_a_dead_link_condemns_all_that_are_open(
    migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "COMMAND_SECONDS", 0.5)
    pool = await open_pool(migrated.url(), name="test", min_size=2, max_size=2)
    before = await _sessions(pool)
    with pytest.raises(TimeoutError):
        await pool.execute("SELECT pg_sleep(20)")
    assert not await _sessions(pool) & before
    await asyncio.wait_for(pool.close(), 5)


async def test_a_statement_that_is_given_up_early_condemns_nothing(migrated: MigratedDatabase) -> None:
    pool = await open_pool(migrated.url(), name="test", min_size=2, max_size=2)
    before = await _sessions(pool)
    with pytest.raises(TimeoutError):
        await pool.execute("SELECT pg_sleep(20)", timeout=0.1)
    assert await _sessions(pool) & before
    await pool.close()


async def test_a_server_that_takes_no_writes_any_more_is_let_go(migrated: MigratedDatabase) -> None:
    pool = await open_pool(migrated.url(), name="test", min_size=2, max_size=2, resets=False)
    before = await _sessions(pool)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as caught:
        await _write_as_if_read_only(pool)
    assert is_transient(caught.value)
    assert not await _sessions(pool) & before
    await pool.close()


async def test_of_several_hosts_one_that_takes_writes_is_wanted(
    migrated: MigratedDatabase, refusing: str
) -> None:
    owner = await migrated.pool(max_size=1)
    await owner.execute(f'ALTER DATABASE "{migrated.name}" SET default_transaction_read_only = on')
    await owner.close()
    connection = await Hosts(migrated.url(), seconds=10).connect()  # where there is no other, it can be read
    await connection.close()
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as caught:
        await Hosts(_after(refusing, migrated.url()), seconds=10).connect()
    assert is_transient(caught.value)


async def _write_as_if_read_only(pool: pools.Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        await connection.execute("INSERT INTO carillon.tenants (slug, name) VALUES ('a', 'a')")


async def _sessions(pool: pools.Pool) -> set[int]:
    """Return the server's processes of two connections."""
    async with pool.acquire() as first, pool.acquire() as second:
        return {await each.fetchval("SELECT pg_backend_pid()") for each in (first, second)}


async def test_a_watermark_is_never_ahead_of_the_database(migrated: MigratedDatabase) -> None:
    """Publishers' clocks write it. One that is ahead would make everything that waits look lost, for long."""
    pool = await open_pool(migrated.url("carillon_email_worker"), name="test", max_size=1)
    ahead = datetime.now(UTC) + timedelta(minutes=10)
    source = SimpleNamespace(queue="carillon.email.normal", newest_published_at=ahead)
    await WatermarkWriter(pool, [cast("MessageSource", source)], consumer="test").write()
    await pool.close()
    owner = await migrated.pool(max_size=1)
    lead = await owner.fetchval("SELECT newest_published_at - now() FROM carillon.queue_watermarks")
    await owner.close()
    assert lead <= timedelta()
