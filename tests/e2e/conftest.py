"""One platform of real processes for all end-to-end tests; each test is a tenant of its own."""

from collections.abc import AsyncIterator

import pytest
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.platform import Platform, Tenant, running_platform
from support.services import PostgresService, RabbitmqService


@pytest.fixture(scope="session")
async def platform(
    postgres: PostgresService,
    rabbitmq: RabbitmqService,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Platform]:
    """The running platform, shared: take `tenant` for a corner of one's own."""
    database = await migrated_databases.copy_template(postgres, database_template)
    vhost = rabbitmq.create_vhost()
    await declare(rabbitmq.url(vhost))
    async with running_platform(
        database, rabbitmq.url(vhost), tmp_path_factory.mktemp("platform-logs")
    ) as running:
        yield running
    rabbitmq.delete_vhost(vhost)
    await migrated_databases.drop(database)


@pytest.fixture
async def tenant(platform: Platform) -> Tenant:
    """A new tenant of the shared platform."""
    return await platform.new_tenant()
