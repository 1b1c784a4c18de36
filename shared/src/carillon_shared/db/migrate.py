"""Bring the schema to this release's revision."""

import asyncio
import random
from pathlib import Path
from time import monotonic

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from carillon_shared.db.hosts import Hosts

_MIGRATIONS = Path(__file__).parent / "migrations"
# Two migration jobs at once take turns on this advisory lock.
_LOCK = 0x0CA21110
_CONNECT_SECONDS = 5.0
# Whoever comes after a statement that waits for a table waits behind it, readers too. So it waits briefly,
# gives way to those who came meanwhile, and tries again: a long transaction costs the migration time, and
# nobody else.
_LOCK_TIMEOUT = "2s"
_IN_THE_WAY = {"55P03", "40P01"}  # lock_not_available, deadlock_detected
_PAUSE_SECONDS = (0.2, 2.0)
PATIENCE_SECONDS = 600.0

log = structlog.get_logger(__name__)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    command.upgrade(_config(connection), "head")


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
    return context.get_current_revision()


def _engine(url: str) -> AsyncEngine:
    """Return an engine that connects as the services do: SQLAlchemy cannot read a URL with several hosts."""
    hosts = Hosts(url, seconds=_CONNECT_SECONDS)
    return create_async_engine("postgresql+asyncpg://", async_creator=hosts.connect, poolclass=NullPool)


async def migrate(url: str, *, patience: float = PATIENCE_SECONDS) -> None:
    """Run every outstanding migration as the owner that `url` names. Safe to run twice, at once, under load.

    All of them are one transaction. One that is in the way of others is rolled back and tried again, for
    `patience` seconds; then the error that names the lock is raised.
    """
    engine = _engine(url)
    deadline = monotonic() + patience
    try:
        while True:
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(_upgrade)
            except (DBAPIError, asyncpg.PostgresError) as error:
                if _sqlstate(error) not in _IN_THE_WAY or monotonic() > deadline:
                    raise
                log.info("migration_gives_way", reason=str(error).partition("\n")[0])
                await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - spreads retries
            else:
                return
    finally:
        await engine.dispose()


def _sqlstate(error: DBAPIError | asyncpg.PostgresError) -> str | None:
    """Return the server's code, whether SQLAlchemy or the driver itself ran the statement."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return getattr(inner, "sqlstate", None)


async def is_current(url: str) -> bool:
    """Tell whether the database has this release's revision."""
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision) == newest_revision()
    finally:
        await engine.dispose()


def newest_revision() -> str | None:
    """Return the one head of the migrations. Raises when there are several."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def wait_until_reachable(url: str, *, seconds: float) -> None:
    """Return once the server answers. Raises ``TimeoutError`` after `seconds`."""
    hosts = Hosts(url, seconds=_CONNECT_SECONDS)
    async with asyncio.timeout(seconds):
        while True:
            try:
                connection = await hosts.connect()
            except (OSError, asyncpg.PostgresError, asyncpg.TargetServerAttributeNotMatched):
                await asyncio.sleep(0.5)
            else:
                await connection.close()
                return
