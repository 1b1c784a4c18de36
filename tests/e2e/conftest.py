"""One platform for all end-to-end tests, each test a tenant of its own.

Started as processes, unless `CARILLON_E2E_API_URL` names one that runs already.
"""

from collections.abc import AsyncIterator

import pytest
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.given_platform import GivenPlatform, given_platform, platform_is_given
from support.platform import Platform, running_platform
from support.seen import Seen
from support.services import PostgresService, RabbitmqService
from support.tenant import Tenant
from support.two_carillons import Side, fake_side, real_side

# Two fixtures of one name, because asking for servers starts them.
if platform_is_given():

    @pytest.fixture(scope="session", name="platform")
    async def _given() -> AsyncIterator[GivenPlatform]:
        """The platform that the environment names."""
        async with given_platform() as given:
            yield given

else:

    @pytest.fixture(scope="session", name="platform")
    async def _started(
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
async def tenant(platform: Seen) -> Tenant:
    """A new tenant of the shared platform."""
    return await platform.new_tenant()


@pytest.fixture(params=["platform", "fake"])
async def side(request: pytest.FixtureRequest, platform: Seen) -> AsyncIterator[Side]:
    """The platform and the fake in turn, for what must hold of both."""
    async with real_side(platform) if request.param == "platform" else fake_side() as opened:
        yield opened
