"""S1's contenders: Carillon, one delivery a message (a) and in chunks of 200 (b), the floor, Celery."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.contender import Program
from bench.drain import Contender, drain
from bench.goals import CARILLON_CHUNKS, CARILLON_SINGLE, CELERY, FLOOR
from bench.ground import CELERY_QUEUE, DATABASE, FLOOR_QUEUE
from bench.results import Run
from bench.servers import Servers
from bench.workload import CHUNK, Workload
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import work_queue

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
    """The four contenders of one drain."""

    def __init__(
        self, servers: Servers, workload: Workload, *, items: int, celery_items: int, concurrency: int
    ) -> None:
        self._servers = servers
        self._workload = workload
        self._items = items
        self._celery_items = celery_items
        self._concurrency = concurrency

    async def round(self, number: int) -> list[Run]:
        """Run every contender once, in an order that turns from round to round."""
        contenders = [self._floor(), self._carillon(1), self._carillon(CHUNK), self._celery()]
        turn = number % len(contenders)
        return [
            await drain(contender, self._workload, self._servers, number=number)
            for contender in contenders[turn:] + contenders[:turn]
        ]

    def _environment(self, queue: str) -> Mapping[str, str]:
        return {
            "BENCH_DATABASE_URL": self._servers.database_url("carillon_owner", DATABASE),
            "BENCH_BROKER_URL": self._servers.rabbitmq.amqp_url,
            "BENCH_QUEUE": queue,
            "PYTHONPATH": str(_TESTS),
        }

    def _floor(self) -> Contender:
        async def fill(items: int) -> None:
            chunks = await self._workload.load(items, chunk=1, lane=Lane.NORMAL)
            await self._workload.publish(chunks, queue=FLOOR_QUEUE)

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
            chunks = await self._workload.load(items, chunk=1, lane=Lane.NORMAL)
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
            await self._workload.publish(await self._workload.load(items, chunk=chunk, lane=lane))

        environment = {
            "CARILLON_DATABASE_URL": self._servers.database_url("carillon_email_worker", DATABASE),
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
            items=self._items if chunk == 1 else 2 * self._items,  # it is quick, and has to get going
            fill=fill,
            count=_CARILLON_COUNT,
            window=_CARILLON_WINDOW,
        )


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
