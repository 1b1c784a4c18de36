"""A platform on servers of its own, which a test may stop and kill as it likes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from carillon_local.postgres import PostgresServer
from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.platform import Platform, running_platform
from support.services import PostgresService

# Rescues that take a minute in production, quick enough for a test. Nothing else differs.
QUICK = {
    "dispatcher": {
        "CARILLON_DISPATCHER_RELAY_INTERVAL": "0.2",
        "CARILLON_DISPATCHER_RESCUE_INTERVAL": "0.5",
        "CARILLON_DISPATCHER_UNKNOWN_GRACE": "1",
        "CARILLON_DISPATCHER_STALLED_SECONDS": "3",
    },
    "email-worker": {"CARILLON_EMAIL_ATTEMPT_TIMEOUT": "2"},
    "whatsapp-worker": {"CARILLON_WHATSAPP_ATTEMPT_TIMEOUT": "2"},
}


@dataclass(slots=True)
class Ground:
    """A platform and the servers under it."""

    platform: Platform
    postgres: PostgresServer
    rabbitmq: RabbitmqServer


@pytest.fixture
async def ground(
    own_postgres: PostgresServer, own_rabbitmq: RabbitmqServer, tmp_path: Path
) -> AsyncIterator[Ground]:
    """Everything running, on a database and a broker of this test's own."""
    service = PostgresService(own_postgres.superuser_url)
    template = await migrated_databases.make_template(service)
    database = await migrated_databases.copy_template(service, template)
    await declare(own_rabbitmq.amqp_url)
    async with running_platform(database, own_rabbitmq.amqp_url, tmp_path, extra=dict(QUICK)) as platform:
        yield Ground(platform, own_postgres, own_rabbitmq)
