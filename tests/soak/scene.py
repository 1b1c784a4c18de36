"""Everything a soak runs on: servers and services of its own, with a proxy on every link that may break."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from carillon_local.postgres import PostgresServer
from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.faults.links import Link, Links
from support.local_servers import LocalServers
from support.platform import Platform, running_platform
from support.services import PostgresService

SERVICES = ("api", "dispatcher", "email-worker", "whatsapp-worker", "inapp-worker")
LINKS = (
    *((name, link) for name in SERVICES for link in (Link.DATABASE, Link.BROKER)),
    ("email-worker", Link.SMTP),
    ("whatsapp-worker", Link.WHATSAPP),
)
# Rescues that take minutes in production. Nothing else differs.
_QUICK = {
    "dispatcher": {
        "CARILLON_DISPATCHER_RELAY_INTERVAL": "0.2",
        "CARILLON_DISPATCHER_RESCUE_INTERVAL": "0.5",
        "CARILLON_DISPATCHER_UNKNOWN_GRACE": "1",
        "CARILLON_DISPATCHER_STALLED_SECONDS": "10",
        "CARILLON_DISPATCHER_COMPLETION_INTERVAL": "0.5",
        "CARILLON_DISPATCHER_LOST_MARGIN": "5",
        "CARILLON_DISPATCHER_RANGE_SIZE": "20",
        "CARILLON_DISPATCHER_DEAD_QUEUE_INTERVAL": "5",
    },
    "email-worker": {"CARILLON_EMAIL_ATTEMPT_TIMEOUT": "2"},
    "whatsapp-worker": {"CARILLON_WHATSAPP_ATTEMPT_TIMEOUT": "2"},
}


@dataclass(slots=True)
class Scene:
    """What faults may break."""

    platform: Platform
    postgres: PostgresServer
    rabbitmq: RabbitmqServer
    links: Links


@asynccontextmanager
async def scene(logs: Path) -> AsyncIterator[Scene]:
    """Start everything; end it, with its data, afterwards. The services' logs stay."""
    servers = LocalServers(say=lambda _: None)
    try:
        postgres, rabbitmq = servers.new_postgres("soak-postgres"), servers.new_rabbitmq("soak-rabbitmq")
        rabbitmq.begin()
        postgres.start()
        rabbitmq.wait_ready()
        service = PostgresService(postgres.superuser_url)
        database = await migrated_databases.copy_template(
            service, await migrated_databases.make_template(service)
        )
        await declare(rabbitmq.amqp_url)
        links = Links(*LINKS)
        extra = {name: dict(values) for name, values in _QUICK.items()}
        async with (
            running_platform(
                database,
                rabbitmq.amqp_url,
                logs,
                extra=extra,
                management_url=rabbitmq.management_url,
                before_start=links.lay,
            ) as platform,
            links,
        ):
            yield Scene(platform, postgres, rabbitmq, links)
    finally:
        servers.close()
