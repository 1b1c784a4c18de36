"""Preparing a database: login roles and an empty database that its owner may migrate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from carillon_local.secrets import OWNER_ROLE, SERVICE_ROLES, Secrets

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

# Roles belong to the whole cluster, so preparing two databases of it at once must take turns.
_TURN = 0x6361_7269  # "cari"
_SECONDS = 30.0
_SERVICE_OPTIONS = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT"
_OWNER_OPTIONS = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB CREATEROLE NOREPLICATION INHERIT"


async def prepare_database(superuser_url: str, database: str, secrets: Secrets) -> None:
    """Create the login roles and the database when they are missing, and set the roles' passwords.

    May be repeated, and run for several databases of one server at once. Tables and their grants are the
    migration's work, done as ``carillon_owner``.

    Args:
        superuser_url: of any database of the server but this one.
        database: its name.
        secrets: the passwords of the roles.

    Raises:
        asyncpg.PostgresError, OSError: when the server refuses or cannot be reached.
    """
    async with _turn(superuser_url) as connection:
        await _ensure_role(connection, OWNER_ROLE, _OWNER_OPTIONS, secrets)
        for role in SERVICE_ROLES:
            await _ensure_role(connection, role, _SERVICE_OPTIONS, secrets)
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await connection.execute(f'CREATE DATABASE "{database}" OWNER {OWNER_ROLE} TEMPLATE template0')
        await _limit_access(connection, database)


async def drop_database(superuser_url: str, database: str) -> None:
    """Drop a database if it exists, ending the sessions in it; the roles stay."""
    async with _turn(superuser_url) as connection:
        await connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


async def _ensure_role(connection: "Connection", role: str, options: str, secrets: Secrets) -> None:
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    verb = "ALTER" if exists else "CREATE"
    statement = await connection.fetchval(
        f"SELECT format('{verb} ROLE %I WITH {options} PASSWORD %L', $1::text, $2::text)",
        role,
        secrets.roles[role],
    )
    await connection.execute(statement)


async def _limit_access(connection: "Connection", database: str) -> None:
    await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO {", ".join(SERVICE_ROLES)}')


@asynccontextmanager
async def _turn(superuser_url: str) -> AsyncIterator["Connection"]:
    """Connect and wait for our turn; the lock ends with the session."""
    connection = await asyncpg.connect(superuser_url, timeout=_SECONDS, command_timeout=_SECONDS)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _TURN)
        yield connection
    finally:
        await connection.close(timeout=_SECONDS)
