"""A migrated database for each test, copied from a template that is migrated once a session."""

from dataclasses import dataclass
from uuid import uuid4

import asyncpg
from carillon_local.database import drop_database, prepare_database
from carillon_shared.db.migrate import migrate
from carillon_shared.db.pool import Pool, open_pool
from support.services import PostgresService

_COPY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class MigratedDatabase:
    """A database at the newest revision, empty but for its schema."""

    service: PostgresService
    name: str

    def url(self, role: str = "carillon_owner") -> str:
        """Return its URL for one login role; the owner is not held by row-level security."""
        return self.service.url(role, self.name)

    async def pool(self, role: str = "carillon_owner", *, max_size: int = 5) -> Pool:
        """Open a pool as one role; the caller closes it."""
        return await open_pool(self.url(role), name=f"test {role}", max_size=max_size)


async def make_template(service: PostgresService) -> str:
    """Create and migrate the database that tests copy."""
    name = f"template_{uuid4().hex}"
    await prepare_database(service.superuser_url, name, service.secrets)
    await migrate(service.url("carillon_owner", name))
    return name


async def copy_template(service: PostgresService, template: str) -> MigratedDatabase:
    """Copy the template, which takes a tenth of what migrating takes."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(service.superuser_url, command_timeout=_COPY_SECONDS)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER carillon_owner')
    finally:
        await connection.close()
    await prepare_database(service.superuser_url, name, service.secrets)  # its rights are not copied
    return MigratedDatabase(service, name)


async def drop(database: MigratedDatabase) -> None:
    """Drop it, ending the sessions in it."""
    await drop_database(database.service.superuser_url, database.name)
