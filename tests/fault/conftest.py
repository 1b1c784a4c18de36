"""Platforms to break: one on servers of a test's own, and a cheaper one that a whole file shares.

`ground`: own PostgreSQL and RabbitMQ, which the test may stop and kill as it likes (about 15 s to start).
`shared_ground`: one platform for all tests of a file, on a database and a virtual host of the session's
servers (about 8 s to start, once a file). A test there must leave every service running as it found it.
"""

from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import pytest
from carillon_local.postgres import PostgresServer
from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.faults import broker_ground as broker_grounds
from support.faults import database_ground as database_grounds
from support.faults.broker_ground import BrokerGround
from support.faults.database_ground import DatabaseGround
from support.local_servers import LocalServers
from support.platform import Platform, running_platform
from support.services import PostgresService, RabbitmqService

# Rescues that take a minute in production, quick enough for a test. Nothing else differs.
QUICK = {
    "dispatcher": {
        "CARILLON_DISPATCHER_RELAY_INTERVAL": "0.2",
        "CARILLON_DISPATCHER_RESCUE_INTERVAL": "0.5",
        "CARILLON_DISPATCHER_UNKNOWN_GRACE": "1",
        "CARILLON_DISPATCHER_STALLED_SECONDS": "3",
        "CARILLON_DISPATCHER_COMPLETION_INTERVAL": "0.5",
        "CARILLON_DISPATCHER_LOST_MARGIN": "5",
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
    async with running_platform(
        database,
        own_rabbitmq.amqp_url,
        tmp_path,
        extra=deepcopy(QUICK),
        management_url=own_rabbitmq.management_url,
    ) as platform:
        yield Ground(platform, own_postgres, own_rabbitmq)


@pytest.fixture(scope="module")
async def shared_ground(
    postgres: PostgresService,
    rabbitmq: RabbitmqService,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Platform]:
    """Everything running, for all tests of a file."""
    database = await migrated_databases.copy_template(postgres, database_template)
    vhost = rabbitmq.create_vhost()
    await declare(rabbitmq.url(vhost))
    async with running_platform(
        database,
        rabbitmq.url(vhost),
        tmp_path_factory.mktemp("shared-ground"),
        extra=deepcopy(QUICK),
        management_url=rabbitmq.management_url,
    ) as platform:
        yield platform
    rabbitmq.delete_vhost(vhost)
    await migrated_databases.drop(database)


@pytest.fixture(scope="module")
async def database_ground(
    rabbitmq: RabbitmqService, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DatabaseGround]:
    """Everything running, for all tests of a file, on a PostgreSQL that they may break."""
    servers = LocalServers(say=lambda _: None)
    # A few hundred people are a large audience here: planning is then many transactions.
    extra = deepcopy(QUICK)
    extra["dispatcher"]["CARILLON_DISPATCHER_RANGE_SIZE"] = "20"
    try:
        async with database_grounds.database_ground(
            rabbitmq, tmp_path_factory.mktemp("database-ground"), servers=servers, extra=extra
        ) as ground:
            yield ground
    finally:
        servers.close()


@pytest.fixture(scope="module")
async def broker_ground(
    postgres: PostgresService, database_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BrokerGround]:
    """Everything running, for all tests of a file, on a RabbitMQ that they may break."""
    servers = LocalServers(say=lambda _: None)
    database = await migrated_databases.copy_template(postgres, database_template)
    try:
        async with broker_grounds.broker_ground(
            database, tmp_path_factory.mktemp("broker-ground"), servers=servers, extra=deepcopy(QUICK)
        ) as ground:
            yield ground
    finally:
        servers.close()
        await migrated_databases.drop(database)
