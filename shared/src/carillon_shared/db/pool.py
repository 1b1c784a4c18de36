"""Connections with every time limit set, so that a dead link or a stuck lock ends in an error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import orjson

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=_to_json, decoder=orjson.loads, schema="pg_catalog", format="text"
    )


async def _keep_session(_connection: Connection) -> None:
    """Leave the session as it is. asyncpg has ended transactions and listeners by now."""


async def open_pool(
    url: str, *, name: str, min_size: int = 1, max_size: int = 10, resets: bool = True
) -> Pool:
    """Open a pool. `name` shows in `pg_stat_activity`. Raises ``OSError`` or ``asyncpg.PostgresError``.

    With `resets` off, a connection that is given back keeps its settings: one round trip less each time, for
    services that set none.
    """
    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        max_inactive_connection_lifetime=300,
        init=_prepare,
        reset=None if resets else _keep_session,
        server_settings={
            "application_name": name,
            "statement_timeout": "25s",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "30s",
            "tcp_user_timeout": "20s",
            "jit": "off",
        },
    )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One unit of work, committed when the block ends."""
    async with pool.acquire(timeout=CONNECT_SECONDS) as connection, connection.transaction():
        yield connection


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: int) -> AsyncIterator[Connection]:
    """One unit of work that sees this tenant's rows only. The setting ends with the transaction."""
    async with transaction(pool) as connection:
        await connection.execute("SELECT set_config('carillon.tenant_id', $1, true)", str(tenant_id))
        yield connection
