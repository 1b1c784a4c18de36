"""S4: events taken in, one a request, each answered when it is committed. Needs `wrk` (Debian: wrk)."""

import asyncio
import json
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aio_pika
from bench.accounting import usages
from bench.contender import Program, Started, running, until
from bench.goals import CARILLON_INTAKE, NO_DATABASE
from bench.ground import DATABASE
from bench.results import Run, check_accepted
from bench.servers import Servers
from bench.workload import Workload
from carillon_shared.credentials import hash_secret, make_api_key
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import dispatch_queue

CONNECTIONS = 64
_WARM_UP_SECONDS = 1
_START_SECONDS = 60.0
_PURGE_SECONDS = 0.02
_SCRIPT = Path(__file__).parent / "floors" / "post_events.lua"
_ADD_KEY = """
    INSERT INTO carillon.api_keys (id, tenant_id, secret_hash, scopes) VALUES ($1, $2, $3, '{events:write}')
"""


def can_run() -> bool:
    """Tell whether the load generator is here."""
    return shutil.which("wrk") is not None


@dataclass(frozen=True, slots=True)
class _Answers:
    """What wrk counted."""

    requests: int
    failed: int
    seconds: float


class Intakes:
    """The API, and the same API that stores nothing."""

    def __init__(self, servers: Servers, workload: Workload, *, seconds: int) -> None:
        self._servers = servers
        self._workload = workload
        self._seconds = seconds
        self._pepper = secrets.token_hex(32)
        self._key = ""

    async def round(self, number: int) -> list[Run]:
        """Run both, in an order that turns."""
        if not self._key:
            await self._add_key()
        modules = {CARILLON_INTAKE: "carillon_api", NO_DATABASE: "bench.floors.api_without_database"}
        names = sorted(modules, reverse=number % 2 == 0)
        return [await self._run(name, modules[name], number) for name in names]

    async def _run(self, name: str, module: str, number: int) -> Run:
        await self._workload.clear()
        port = self._servers.ports.pick()
        program = Program(name, [sys.executable, "-m", module], self._environment(port))
        async with running(program, self._servers.logs) as started, self._emptied():
            url = f"http://127.0.0.1:{port}/readyz"
            await until(lambda: answers(url), started, seconds=_START_SECONDS, every=0.1)
            warm = await self._load(port, _WARM_UP_SECONDS)
            run, counted = await self._measured(started, port, number)
        await self._check(name, warm, counted)
        return run

    async def _measured(self, started: Started, port: int, number: int) -> tuple[Run, _Answers]:
        trees = {"contender": started.process.pid, **self._servers.trees}
        before = usages(trees)
        counted = await self._load(port, self._seconds)
        after = usages(trees)
        run = Run(
            contender=started.name,
            round=number,
            items=counted.requests,
            seconds=counted.seconds,
            cpu={part: after[part].cpu - before[part].cpu for part in trees},
            resident=after["contender"].resident,
        )
        return run, counted

    async def _check(self, name: str, *loads: _Answers) -> None:
        answered = sum(load.requests for load in loads)
        failed = sum(load.failed for load in loads)
        count = "SELECT count(*) FROM carillon.events WHERE status = 'accepted'"
        stored = await self._workload.pool.fetchval(count) if name == CARILLON_INTAKE else answered
        still_open = CONNECTIONS * len(loads)
        check_accepted(name, answered=answered, failed=failed, stored=stored, connections=still_open)

    async def _load(self, port: int, seconds: int) -> _Answers:
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "--script", str(_SCRIPT)]
        process = await asyncio.create_subprocess_exec(
            "wrk",
            *options,
            f"http://127.0.0.1:{port}/v1/events",
            "--",
            self._key,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        found = json.loads(output.decode().strip().splitlines()[-1])
        return _Answers(found["requests"], found["failed"], found["microseconds"] / 1e6)

    async def _add_key(self) -> None:
        key = make_api_key()
        secret_hash = hash_secret(key.secret, pepper=self._pepper.encode())
        await self._workload.pool.execute(_ADD_KEY, key.id, self._workload.tenant_id, secret_hash)
        self._key = str(key)

    @asynccontextmanager
    async def _emptied(self) -> AsyncIterator[None]:
        """Throw away what is published: nobody plans these events, and into a full lane no more would go."""
        async with (
            await aio_pika.connect(self._servers.rabbitmq.amqp_url) as connection,
            connection.channel() as channel,
        ):
            queue = await channel.get_queue(dispatch_queue(Lane.NORMAL))

            done = asyncio.Event()

            async def keep_empty() -> (
                None
            ):  # never cancelled: that would cost the channel in the middle of a purge
                while not done.is_set():
                    await queue.purge()
                    await asyncio.sleep(_PURGE_SECONDS)

            purging = asyncio.create_task(keep_empty())
            try:
                yield
            finally:
                done.set()
                await purging
                await queue.purge()

    def _environment(self, port: int) -> dict[str, str]:
        return {
            "CARILLON_DATABASE_URL": self._servers.database_url("carillon_api", DATABASE),
            "CARILLON_BROKER_URL": self._servers.rabbitmq.amqp_url,
            "CARILLON_METRICS_PORT": "0",
            "CARILLON_API_PORT": str(port),
            "CARILLON_API_TOKEN_SECRET": secrets.token_hex(32),
            "CARILLON_API_KEY_PEPPER": self._pepper,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }


async def answers(url: str) -> bool:
    """Tell whether this address answers with 200 now."""
    return await asyncio.to_thread(_ask, url)


def _ask(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own server
            return bool(reply.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
