"""What all scenarios stand on: a migrated database and declared queues on the private servers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aio_pika
import asyncpg
from bench.servers import Servers
from bench.workload import Workload, make_workload
from carillon_local.database import prepare_database
from carillon_shared.broker.declare import declare
from carillon_shared.broker.session import BrokerSession
from carillon_shared.db.migrate import migrate
from carillon_shared.db.pool import open_pool

DATABASE = "bench"
FLOOR_QUEUE = "bench.floor"
CELERY_QUEUE = "bench.celery"


@asynccontextmanager
async def prepared(servers: Servers, *, people: int) -> AsyncIterator[Workload]:
    """Make the database and the queues, with one tenant and so many people."""
    url = servers.rabbitmq.amqp_url
    await prepare_database(servers.postgres.superuser_url, DATABASE, servers.secrets)
    owner = servers.database_url("carillon_owner", DATABASE)
    await migrate(owner)
    await declare(url)
    await _declare_queues(url)
    async with AsyncExitStack() as stack:
        pool = await open_pool(owner, name="bench", max_size=2)
        stack.push_async_callback(pool.close)
        superuser = await asyncpg.connect(servers.postgres.superuser_url, database=DATABASE)
        stack.push_async_callback(superuser.close)
        session = await stack.enter_async_context(BrokerSession(url, name="bench"))
        yield await make_workload(pool, superuser, session, people=people)


async def _declare_queues(url: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name, kind in ((FLOOR_QUEUE, "quorum"), (CELERY_QUEUE, "classic")):
            await channel.declare_queue(name, durable=True, arguments={"x-queue-type": kind})
