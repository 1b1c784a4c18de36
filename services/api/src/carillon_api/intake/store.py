"""Intake's side of the database."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.db.transient import DATABASE_ERRORS, is_transient

from carillon_api.intake.rows import IntakeRow, Result, Stored

FLUSH_SECONDS = 8.0

_ACCEPT = """
SELECT n, event_id, result FROM carillon.accept_events(
    $1::integer[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[],
    $16::timestamptz[], $17::text[], $18::text[], $19::boolean[], $20::text[], $21::text[])
"""
_DATA_CLASSES = ("22", "23", "54")  # data exception, constraint violation, program limit exceeded
_CHECK_VIOLATION = "23514"
_SESSION_ENDED = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError)


class StoreError(Exception):
    """Nothing of the group was stored, unless the subclass says otherwise."""


class RowsRefusedError(StoreError):
    """Something in one of the rows cannot be stored."""


class TryAgainError(StoreError):
    """Another transaction was in the way; the same again can succeed at once."""


class StoreUnavailableError(StoreError):
    """The database is away, or has no room. `maybe_stored`: the commit's outcome is not known."""

    def __init__(self, detail: str, *, maybe_stored: bool) -> None:
        super().__init__(detail)
        self.maybe_stored = maybe_stored


class EventStore(Protocol):
    """Where groups are committed."""

    async def accept(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        """Commit rows in the order they came, each key once; one answer for each. Raises `StoreError`."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...


class PostgresEventStore:
    """Commits through `carillon.accept_events`, on one connection that it keeps."""

    def __init__(self, pool: Pool, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._pool = pool
        self._flush_seconds = flush_seconds
        self._connection: PoolConnectionProxy[asyncpg.Record] | None = None

    async def accept(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        """Commit rows in the order they came, each key once; one answer for each. Raises `StoreError`."""
        connection = await self._connected()
        try:
            async with asyncio.timeout(self._flush_seconds):
                answers = await connection.fetch(_ACCEPT, *columns(rows))
        except Exception as error:
            await self._settle(error)
            classified = _classified(error)
            if classified is None:
                raise
            raise classified from error
        return [Stored(Result(answer["result"]), answer["event_id"]) for answer in answers]

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)

    async def _connected(self) -> "PoolConnectionProxy[asyncpg.Record]":
        if self._connection is not None and _is_lost(self._connection):
            await self.close()
        if self._connection is None:
            try:
                self._connection = await self._pool.acquire(timeout=CONNECT_SECONDS)
            except DATABASE_ERRORS as error:
                raise StoreUnavailableError(type(error).__name__, maybe_stored=False) from error
        return self._connection

    async def _settle(self, error: Exception) -> None:
        """After an error that says nothing about the rows, start over on another connection."""
        if self._connection is None or _server_is_well(error):
            return
        if isinstance(error, TimeoutError):  # whatever is in the way is in the way of the pool's others too
            await self._pool.expire_connections()
        if not _is_lost(self._connection):
            self._connection.terminate()
        await self.close()


def _is_lost(connection: "PoolConnectionProxy[asyncpg.Record]") -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # it was closed by the server, and the pool has taken it back already
        return True


def _server_is_well(error: Exception) -> bool:
    """Tell whether the server answered, and not that it takes no writes any more: there may be another."""
    return isinstance(error, asyncpg.PostgresError) and not isinstance(
        error, asyncpg.ReadOnlySQLTransactionError
    )


def _classified(error: Exception) -> StoreError | None:
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
        return TryAgainError(str(error))
    if isinstance(error, asyncpg.PostgresError) and _lacks_partition(error):
        return StoreUnavailableError("there is no partition for this moment", maybe_stored=False)
    if state[:2] in _DATA_CLASSES or isinstance(error, asyncpg.DataError):
        return RowsRefusedError(str(error))
    if is_transient(error):
        # A statement that PostgreSQL itself refused was rolled back; of one whose session ended nobody knows.
        known = isinstance(error, asyncpg.PostgresError) and not isinstance(error, _SESSION_ENDED)
        return StoreUnavailableError(type(error).__name__, maybe_stored=not known)
    return None


def _lacks_partition(error: asyncpg.PostgresError) -> bool:
    # The same SQLSTATE as a CHECK that a row fails, but no constraint has the blame.
    return error.sqlstate == _CHECK_VIOLATION and not getattr(error, "constraint_name", None)


def columns(rows: Sequence[IntakeRow]) -> list[list[object]]:
    """Return rows as the arguments of `carillon.accept_events`."""
    return [
        [row.key.tenant_id for row in rows],
        [row.key.source for row in rows],
        [row.key.id for row in rows],
        [row.body_hash for row in rows],
        [row.type for row in rows],
        [row.category for row in rows],
        [row.lane for row in rows],
        [row.channels for row in rows],
        [row.subject for row in rows],
        [row.time for row in rows],
        [row.data for row in rows],
        [row.audience for row in rows],
        [row.inline_users for row in rows],
        [row.actor for row in rows],
        [row.deliver_at for row in rows],
        [row.expires_at for row in rows],
        [row.traceparent for row in rows],
        [row.throttle for row in rows],
        [row.needs_approval for row in rows],
        [row.collapse_key for row in rows],
        [row.on_conflict for row in rows],
    ]


async def mark_published(pool: Pool, event_ids: Sequence[UUID]) -> None:
    """Note that the broker has these, so that the relay leaves them alone."""
    await pool.execute(
        "SELECT carillon.mark_published($1, $2, $3)", list(event_ids), min(event_ids), max(event_ids)
    )
