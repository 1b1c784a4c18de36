"""A platform on a PostgreSQL of its own, which a file's tests may break; the broker is the session's."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from carillon_local.postgres import PostgresServer
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.faults.fault_proxy import FaultProxy
from support.local_servers import LocalServers
from support.platform import Platform, running_platform
from support.services import PostgresService, RabbitmqService

USERS = {
    "api": "carillon-api",
    "dispatcher": "carillon-dispatcher",
    "email-worker": "carillon-email-worker",
    "whatsapp-worker": "carillon-whatsapp-worker",
    "inapp-worker": "carillon-inapp-worker",
}
"""Every service that uses the database, and its name in `pg_stat_activity`."""


@dataclass(slots=True)
class DatabaseGround:
    """A platform and the database below it. Every service reaches it through `proxy`; tests need not."""

    platform: Platform
    postgres: PostgresServer
    proxy: FaultProxy
    servers: LocalServers


@asynccontextmanager
async def database_ground(
    rabbitmq: RabbitmqService,
    logs: Path,
    *,
    servers: LocalServers,
    extra: Mapping[str, Mapping[str, str]],
) -> AsyncIterator[DatabaseGround]:
    """Run every service. `extra` are further variables by service."""
    server = servers.new_postgres("broken-postgres")
    server.start()
    service = PostgresService(server.superuser_url)
    template = await migrated_databases.make_template(service)
    database = await migrated_databases.copy_template(service, template)
    vhost = rabbitmq.create_vhost()
    await declare(rabbitmq.url(vhost))
    async with FaultProxy("127.0.0.1", server.port) as proxy:

        async def lead_through(platform: Platform) -> None:
            for name in USERS:
                url = platform.environment(name)["CARILLON_DATABASE_URL"]
                through = url.replace(f":{server.port}/", f":{proxy.port}/")
                platform.extra.setdefault(name, {})["CARILLON_DATABASE_URL"] = through

        async with running_platform(
            database,
            rabbitmq.url(vhost),
            logs,
            extra={name: dict(variables) for name, variables in extra.items()},
            management_url=rabbitmq.management_url,
            before_start=lead_through,
        ) as platform:
            yield DatabaseGround(platform, server, proxy, servers)
    rabbitmq.delete_vhost(vhost)
