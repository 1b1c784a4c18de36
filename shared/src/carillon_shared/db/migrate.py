"""Bring the schema to this release's revision."""

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from carillon_shared.db.hosts import Hosts

_MIGRATIONS = Path(__file__).parent / "migrations"
# Two migration jobs at once take turns on this advisory lock.
_LOCK = 0x0CA21110
_CONNECT_SECONDS = 5.0


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    command.upgrade(_config(connection), "head")


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
    return context.get_current_revision()


def _engine(url: str) -> AsyncEngine:
    """Return an engine that connects as the services do: SQLAlchemy cannot read a URL with several hosts."""
    hosts = Hosts(url, seconds=_CONNECT_SECONDS)
    return create_async_engine("postgresql+asyncpg://", async_creator=hosts.connect, poolclass=NullPool)


async def migrate(url: str) -> None:
    """Run every outstanding migration as the owner that `url` names. Safe to run twice, and at once."""
    engine = _engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


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
