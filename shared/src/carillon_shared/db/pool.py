"""Connections with every time limit set, so that a dead link or a stuck lock ends in an error."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from time import monotonic
from typing import Any, TypeAlias

import asyncpg
import asyncpg.pool
import orjson
import structlog
from asyncpg.connection import LoggedQuery

from carillon_shared.db.hosts import Hosts
from carillon_shared.telemetry import metrics

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0
_MAX_QUERIES = 50_000  # of one connection; then it is replaced
_CONDEMN_SECONDS = 1.0

log = structlog.get_logger(__name__)


class _Pool(asyncpg.pool.Pool):
    """Nobody waits for a connection without end, whatever way they ask for one.

    What one connection shows about the server, or the way to it, holds for all that are open: a link that
    carries nothing, or a server that takes no writes any more. They are replaced before their next use.
    """

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, init=self._prepare, **options)
        self._condemned_at = -inf
        self._condemning: asyncio.Task[None] | None = None

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=CONNECT_SECONDS if timeout is None else timeout)

    async def _prepare(self, connection: Connection) -> None:
        await connection.set_type_codec(
            "jsonb", encoder=_to_json, decoder=orjson.loads, schema="pg_catalog", format="text"
        )
        connection.add_query_logger(self._look)

    async def expire_connections(self) -> None:
        """Let every connection be replaced before its next use; not more than once a second."""
        now = monotonic()
        if now - self._condemned_at >= _CONDEMN_SECONDS:
            self._condemned_at = now
            await super().expire_connections()

    def _look(self, query: LoggedQuery) -> None:
        error = query.exception
        metrics.DATABASE_SECONDS.observe(query.elapsed)
        if error is not None:
            metrics.DATABASE_FAILURES.labels(_kind_of(error)).inc()
        if _shows_a_dead_link(query) or isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            log.warning("database_connections_replaced", reason=type(error).__name__)
            self._condemning = asyncio.get_running_loop().create_task(self.expire_connections())


def _shows_a_dead_link(query: LoggedQuery) -> bool:
    """Tell whether the server would have ended the statement before."""
    return isinstance(query.exception, TimeoutError) and query.elapsed >= COMMAND_SECONDS


def _kind_of(error: BaseException) -> str:
    if isinstance(error, asyncpg.QueryCanceledError | TimeoutError):
        return "timeout"
    return "refused" if isinstance(error, asyncpg.PostgresError) else "link"


def _to_json(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _keep_session(_connection: Connection) -> None:
    """Leave the session as it is. asyncpg has ended transactions and listeners by now."""


async def open_pool(
    url: str,
    *,
    name: str,
    min_size: int = 1,
    max_size: int = 10,
    resets: bool = True,
    switched_off: Sequence[str] = (),
) -> Pool:
    """Open a pool. `name` shows in `pg_stat_activity`. Raises ``OSError`` or ``asyncpg.PostgresError``.

    The rules in its sessions skip the channels that are `switched_off`.

    With `resets` off, a connection that is given back keeps its settings: one round trip less each time, for
    services that set none.
    """
    return await _Pool(
        url,
        connect=Hosts(url, seconds=CONNECT_SECONDS).connect,
        min_size=min_size,
        max_size=max_size,
        max_queries=_MAX_QUERIES,
        command_timeout=COMMAND_SECONDS,
        max_inactive_connection_lifetime=300,
        reset=None if resets else _keep_session,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        server_settings={
            "application_name": name,
            "statement_timeout": "25s",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "30s",
            "tcp_user_timeout": "20s",
            # The server, too, is to forget a client that has vanished: two minutes instead of two hours.
            "tcp_keepalives_idle": "60",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "6",
            "jit": "off",
        }
        | ({"carillon.switched_off": ",".join(switched_off)} if switched_off else {}),
    )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """One unit of work, committed when the block ends."""
    async with pool.acquire(timeout=CONNECT_SECONDS) as connection, connection.transaction():
        try:
            yield connection
        except TimeoutError:
            # The server would have ended the statement before: the link is dead, and a rollback would wait
            # as long again.
            connection.terminate()
            raise


@asynccontextmanager
async def tenant_transaction(pool: Pool, tenant_id: int) -> AsyncIterator[Connection]:
    """One unit of work that sees this tenant's rows only. The setting ends with the transaction."""
    async with transaction(pool) as connection:
        await connection.execute("SELECT set_config('carillon.tenant_id', $1, true)", str(tenant_id))
        yield connection
