"""What the server does to its clients on a bad day, done on purpose."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

import asyncpg
from support.faults.database_ground import USERS
from support.platform import Platform

Session: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_END = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = ANY ($1)
"""


class HasPlatform(Protocol):
    """Whatever a platform runs on."""

    @property
    def platform(self) -> Platform:
        """The platform."""


@asynccontextmanager
async def superuser(ground: HasPlatform) -> AsyncIterator[Session]:
    """Open a session that may do everything, past the proxy."""
    database = ground.platform.database
    connection = await asyncpg.connect(database.service.superuser_url_of(database.name), timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


@asynccontextmanager
async def failing(session: Session, table: str, state: str, *, share: float = 1.0) -> AsyncIterator[None]:
    """Let statements that write a table fail with this SQLSTATE, or a share of them."""
    await session.execute(
        f"""
        CREATE OR REPLACE FUNCTION carillon.fail_on_purpose() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF random() < {share} THEN
                RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}';
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER fails_on_purpose AFTER INSERT OR UPDATE ON carillon.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION carillon.fail_on_purpose()
        """
    )
    try:
        yield
    finally:
        await session.execute(f"DROP TRIGGER fails_on_purpose ON carillon.{table}")


@asynccontextmanager
async def no_more_connections(session: Session, services: Collection[str]) -> AsyncIterator[None]:
    """Refuse new sessions of these services with "too many connections" (53300), and end those they have."""
    roles = [f"carillon_{name.replace('-', '_')}" for name in services]
    for role in roles:
        await session.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    try:
        await end_sessions(session, services)
        yield
    finally:
        for role in roles:
            await session.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")


async def end_sessions(session: Session, services: Collection[str]) -> int:
    """End all sessions of these services; return how many there were."""
    return int(await session.fetchval(_END, [USERS[name] for name in services]))
