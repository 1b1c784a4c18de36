"""S1's contenders: Carillon, one delivery a message (a) and in chunks of 200 (b), the floor, Celery."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import aio_pika
import asyncpg
from bench.contender import Program
from bench.drain import Contender, drain
from bench.goals import CARILLON_CHUNKS, CARILLON_SINGLE, CELERY, FLOOR
from bench.results import Run
from bench.servers import Servers
from bench.workload import CHUNK, Workload, make_workload
from carillon_local.database import prepare_database
from carillon_shared.broker.declare import declare
from carillon_shared.broker.session import BrokerSession
from carillon_shared.db.migrate import migrate
from carillon_shared.db.pool import open_pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import work_queue

FLOOR_QUEUE = "bench.floor"
CELERY_QUEUE = "bench.celery"
_DATABASE = "bench"
_TESTS = Path(__file__).parents[1]

_FLOOR_COUNT = "SELECT count(*) FROM bench.status"
_FLOOR_WINDOW = """
    SELECT count(*) AS rows, count(*) FILTER (WHERE at > first) AS later,
           extract(epoch FROM max(at) - first) AS took
    FROM bench.status, (SELECT min(at) AS first FROM bench.status) AS f GROUP BY first
"""
_CARILLON_COUNT = "SELECT count(*) FROM carillon.attempts"
_CARILLON_WINDOW = """
    SELECT count(*) AS rows, count(*) FILTER (WHERE updated_at > first) AS later,
           extract(epoch FROM max(updated_at) - first) AS took,
           (SELECT count(*) FROM carillon.attempts WHERE number = 1 AND outcome = 'sent') AS attempts
    FROM carillon.deliveries,
         (SELECT min(updated_at) AS first FROM carillon.deliveries WHERE status = 'sent') AS f
    WHERE status = 'sent' GROUP BY first
"""


class Drains:
    """The four contenders on one set of servers. Use as a context manager."""

    def __init__(self, servers: Servers, *, items: int, celery_items: int, concurrency: int) -> None:
        self._servers = servers
        self._items = items
        self._celery_items = celery_items
        self._concurrency = concurrency
        self._stack = AsyncExitStack()
        self._workload: Workload | None = None

    async def __aenter__(self) -> Self:
        async with self._stack:
            self._workload = await self._prepare()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def round(self, number: int) -> list[Run]:
        """Run every contender once, in an order that turns from round to round."""
        contenders = [self._floor(), self._carillon(1), self._carillon(CHUNK), self._celery()]
        turn = number % len(contenders)
        return [
            await drain(contender, self.workload, self._servers, number=number)
            for contender in contenders[turn:] + contenders[:turn]
        ]

    @property
    def workload(self) -> Workload:
        """What they work through."""
        assert self._workload is not None
        return self._workload

    async def _prepare(self) -> Workload:
        servers, url = self._servers, self._servers.rabbitmq.amqp_url
        await prepare_database(servers.postgres.superuser_url, _DATABASE, servers.secrets)
        owner = servers.database_url("carillon_owner", _DATABASE)
        await migrate(owner)
        await declare(url)
        await _declare_queues(url)
        pool = await open_pool(owner, name="bench", max_size=2)
        self._stack.push_async_callback(pool.close)
        superuser = await asyncpg.connect(servers.postgres.superuser_url, database=_DATABASE)
        self._stack.push_async_callback(superuser.close)
        session = await self._stack.enter_async_context(BrokerSession(url, name="bench"))
        return await make_workload(pool, superuser, session, people=max(self._items, self._celery_items))

    def _environment(self, queue: str) -> Mapping[str, str]:
        return {
            "BENCH_DATABASE_URL": self._servers.database_url("carillon_owner", _DATABASE),
            "BENCH_BROKER_URL": self._servers.rabbitmq.amqp_url,
            "BENCH_QUEUE": queue,
            "PYTHONPATH": str(_TESTS),
        }

    def _floor(self) -> Contender:
        async def fill(items: int) -> None:
            chunks = await self.workload.load(items, chunk=1, lane=Lane.NORMAL)
            await self.workload.publish(chunks, queue=FLOOR_QUEUE)

        argv = [sys.executable, "-m", "bench.floors.hand_batched"]
        return Contender(
            program=Program(FLOOR, argv, self._environment(FLOOR_QUEUE)),
            queue=FLOOR_QUEUE,
            items=self._items,
            fill=fill,
            count=_FLOOR_COUNT,
            window=_FLOOR_WINDOW,
        )

    def _celery(self) -> Contender:
        environment = self._environment(CELERY_QUEUE)

        async def fill(items: int) -> None:
            chunks = await self.workload.load(items, chunk=1, lane=Lane.NORMAL)
            bodies = b"\n".join(chunk.model_dump_json().encode() for chunk in chunks)
            await _publish_tasks(bodies, environment)

        options = [f"--concurrency={os.cpu_count()}", "--without-gossip", "--without-mingle"]
        options += ["--without-heartbeat", "--loglevel=WARNING", "--pool=prefork"]
        argv = [sys.executable, "-m", "celery", "-A", "bench.floors.celery_app", "worker", *options]
        return Contender(
            program=Program(CELERY, argv, environment),
            queue=CELERY_QUEUE,
            items=self._celery_items,
            fill=fill,
            count=_FLOOR_COUNT,
            window=_FLOOR_WINDOW,
        )

    def _carillon(self, chunk: int) -> Contender:
        lane = Lane.NORMAL if chunk == 1 else Lane.BULK

        async def fill(items: int) -> None:
            await self.workload.publish(await self.workload.load(items, chunk=chunk, lane=lane))

        environment = {
            "CARILLON_DATABASE_URL": self._servers.database_url("carillon_email_worker", _DATABASE),
            "CARILLON_BROKER_URL": self._servers.rabbitmq.amqp_url,
            "CARILLON_METRICS_PORT": "0",
            "CARILLON_LOG_LEVEL": "WARNING",  # the sandbox's line for every mail is not the engine's
            "CARILLON_EMAIL_PROVIDER": "sandbox",
            "CARILLON_EMAIL_CONCURRENCY": str(self._concurrency),
        }
        return Contender(
            program=Program(
                CARILLON_SINGLE if chunk == 1 else CARILLON_CHUNKS,
                [sys.executable, "-m", "carillon_email_worker"],
                environment,
            ),
            queue=work_queue(Channel.EMAIL, lane),
            items=self._items,
            fill=fill,
            count=_CARILLON_COUNT,
            window=_CARILLON_WINDOW,
        )


async def _declare_queues(url: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in (FLOOR_QUEUE, CELERY_QUEUE):
            await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})


async def _publish_tasks(bodies: bytes, environment: Mapping[str, str]) -> None:
    """Let Celery publish its own messages, in a process of its own: it cannot be told twice where to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.floors.celery_fill",
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
    )
    await process.communicate(bodies)
    if process.returncode != 0:
        raise RuntimeError("filling Celery's queue failed")
