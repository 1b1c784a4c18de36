"""S3: a broadcast, from the request to the last recorded delivery, beside the product built the usual way."""

import asyncio
import json
import os
import signal
import smtplib
import sys
import urllib.request
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
from bench.accounting import Usage, usages
from bench.contender import Program, Started, running, until
from bench.goals import CARILLON_BROADCAST, USUAL_PRODUCT
from bench.ground import DATABASE
from bench.intake import answers
from bench.results import CountError, Run, check_count
from bench.servers import Servers
from carillon_local.platform import PORTS, SERVICES, Addresses, Service, service_child, service_environment
from carillon_shared.credentials import hash_secret, make_api_key
from carillon_shared.db.pool import Pool

MAIL_SHARE = 10
"""One in so many people has a mail address."""

_START_SECONDS = 60.0
_DONE_SECONDS = 240.0
_LOOK_SECONDS = 0.5
_TESTS = Path(__file__).parents[1]
_TITLE = "Maintenance tonight"
_BODY = "From 22:00 to 23:00 UTC the help desk cannot be reached. " * 5
_BROADCAST = {"type": "message", "data": {"title": _TITLE, "body": _BODY}, "audience": {"everyone": True}}
MESSAGE = json.dumps(_BROADCAST)
"""What everybody is told."""

_PEOPLE = """
    INSERT INTO carillon.subscribers (tenant_id, id, email, attributes)
    SELECT $1, 'user-' || n, CASE WHEN n % $3 = 0 THEN 'user-' || n || '@example.org' END,
           jsonb_build_object('name', 'User ' || n)
    FROM generate_series(1, $2::integer) AS n
"""
_KEY = (
    "INSERT INTO carillon.api_keys (id, tenant_id, secret_hash, scopes) VALUES ($1, $2, $3, '{events:write}')"
)
_CLEAR = """
    TRUNCATE carillon.events, carillon.event_keys, carillon.deliveries, carillon.attempts, carillon.leases,
             carillon.due, carillon.dead_letters, carillon.feeds, carillon.feed_items, carillon.fanout_ranges
"""
_COUNTS = """
    SELECT count(*) FILTER (WHERE channel = 'inapp' AND status = 'delivered') AS inapp,
           count(*) FILTER (WHERE channel = 'email' AND status = 'sent') AS email, count(*) AS rows,
           count(*) FILTER (WHERE status NOT IN ('delivered', 'sent', 'skipped')) AS open
    FROM carillon.deliveries
"""
_TOOK = """
    SELECT extract(epoch FROM max(d.updated_at) - min(e.accepted_at))
    FROM carillon.deliveries d, carillon.events e
"""
_USUAL_PEOPLE = """
    INSERT INTO usual.subscribers (id, name, email, unread)
    SELECT n, 'User ' || n, CASE WHEN n % $2 = 0 THEN 'user-' || n || '@example.org' END, 0
    FROM generate_series(1, $1::integer) AS n
"""
_USUAL_CLEAR = "TRUNCATE usual.events, usual.notifications, usual.inbox_items"
_USUAL_COUNTS = """
    SELECT count(*) FILTER (WHERE channel = 'inapp' AND status = 'delivered') AS inapp,
           count(*) FILTER (WHERE channel = 'email' AND status = 'sent') AS email, count(*) AS rows,
           count(*) FILTER (WHERE status = 'pending') AS open
    FROM usual.notifications
"""
_USUAL_TOOK = """
    SELECT extract(epoch FROM max(n.updated_at) - min(e.created_at))
    FROM usual.notifications n, usual.events e
"""


@dataclass(frozen=True, slots=True)
class Audience:
    """How many people there are, and how many of them have a mail address."""

    people: int

    @property
    def mails(self) -> int:
        """Everybody has a feed, one in ten an address."""
        return self.people // MAIL_SHARE

    @property
    def notifications(self) -> int:
        """What must be delivered."""
        return self.people + self.mails


class Broadcasts:
    """The two contenders, each started for its turn and ended after it."""

    def __init__(
        self, servers: Servers, pool: Pool, *, tenant_id: int, people: int, usual_people: int
    ) -> None:
        self._servers = servers
        self._pool = pool
        self._tenant_id = tenant_id
        self._audience = Audience(people)
        self._usual_audience = Audience(usual_people)
        self._key = ""

    async def round(self, number: int) -> list[Run]:
        """Run both, in an order that turns."""
        if not self._key:
            await self._prepare()
        turns = [self._carillon, self._usual]
        return [await turn(number) for turn in (turns if number % 2 else reversed(turns))]

    async def _prepare(self) -> None:
        await self._pool.execute("DELETE FROM carillon.subscribers")
        await self._pool.execute(_PEOPLE, self._tenant_id, self._audience.people, MAIL_SHARE)
        self._key = await make_key(self._pool, self._servers, self._tenant_id)
        await _make_usual_tables(self._servers)
        await self._pool.execute(_USUAL_PEOPLE, self._usual_audience.people, MAIL_SHARE)
        async with await aio_pika.connect(self._servers.rabbitmq.amqp_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("bench.usual", durable=True)

    async def _carillon(self, number: int) -> Run:
        await self._pool.execute(_CLEAR)
        async with AsyncExitStack() as stack:
            sink = await stack.enter_async_context(_sink(self._servers))
            platform = await stack.enter_async_context(
                running_platform(self._servers, {"CARILLON_EMAIL_SMTP_PORT": str(sink)})
            )
            headers = {"Authorization": f"Bearer {self._key}"}
            body = _BROADCAST | {"channels": ["inapp", "email"]}
            before = platform.usage()
            await asyncio.to_thread(post, f"{platform.url}/v1/events", body, headers)
            await self._until_done(_COUNTS, platform.started, rows=2 * self._audience.people)
            after = platform.usage()
            await self._check(CARILLON_BROADCAST, _COUNTS, self._audience, sink)
        return await self._run(CARILLON_BROADCAST, number, _TOOK, before=before, after=after)

    async def _usual(self, number: int) -> Run:
        await self._pool.execute(_USUAL_CLEAR)
        async with AsyncExitStack() as stack:
            sink = await stack.enter_async_context(_sink(self._servers))
            port = self._servers.ports.pick()
            environment = _usual_environment(self._servers, sink)
            started = [
                await stack.enter_async_context(running(program, self._servers.logs))
                for program in _usual_programs(port, environment)
            ]
            url = f"http://127.0.0.1:{port}"
            await until(lambda: answers(f"{url}/docs"), started[0], seconds=_START_SECONDS, every=0.1)
            await self._until_consumed(started[1])
            trees = {one.name: one.process.pid for one in started} | self._servers.trees
            before = _summed(usages(trees))
            await asyncio.to_thread(post, f"{url}/broadcasts", {"title": _TITLE, "body": _BODY}, {})
            await self._until_done(_USUAL_COUNTS, started, rows=self._usual_audience.notifications)
            after = _summed(usages(trees))
            await self._check(USUAL_PRODUCT, _USUAL_COUNTS, self._usual_audience, sink)
        return await self._run(USUAL_PRODUCT, number, _USUAL_TOOK, before=before, after=after)

    async def _until_consumed(self, worker: Started) -> None:
        async def fact() -> bool:
            async with await aio_pika.connect(self._servers.rabbitmq.amqp_url) as connection:
                queue = await (await connection.channel()).get_queue("bench.usual")
                return bool(queue.declaration_result.consumer_count)

        await until(fact, worker, seconds=_START_SECONDS, every=0.2)

    async def _until_done(self, counts: str, started: Sequence[Started], *, rows: int) -> None:
        async def fact() -> bool:
            for one in started:
                one.check()
            row = await self._pool.fetchrow(counts)
            assert row is not None
            return bool(row["rows"] == rows and row["open"] == 0)

        await until(fact, started[0], seconds=_DONE_SECONDS, every=_LOOK_SECONDS)

    async def _check(self, name: str, counts: str, audience: Audience, sink: int) -> None:
        row = await self._pool.fetchrow(counts)
        assert row is not None
        check_count(name, expected=audience.people, found={"inapp": row["inapp"]})
        mails = await asyncio.to_thread(taken_by, sink)
        check_count(name, expected=audience.mails, found={"email": row["email"], "mails": mails})

    async def _run(
        self, name: str, number: int, took: str, *, before: Mapping[str, Usage], after: Mapping[str, Usage]
    ) -> Run:
        audience = self._audience if name == CARILLON_BROADCAST else self._usual_audience
        return Run(
            contender=name,
            round=number,
            items=audience.notifications,
            seconds=float(await self._pool.fetchval(took)),
            cpu={part: after[part].cpu - before[part].cpu for part in after},
            resident=after["contender"].resident,
        )


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """All services of Carillon, as processes."""

    started: Sequence[Started]
    servers: Servers
    url: str

    @property
    def port(self) -> int:
        """Where the API listens."""
        return int(self.url.rpartition(":")[2])

    def usage(self) -> dict[str, Usage]:
        """What services, broker and database have used by now."""
        return _summed(self.usages())

    def usages(self) -> dict[str, Usage]:
        """The same of each process."""
        return usages({one.name: one.process.pid for one in self.started} | self.servers.trees)


@asynccontextmanager
async def running_platform(
    servers: Servers, settings: Mapping[str, str], *, without: Collection[str] = ("whatsapp-worker",)
) -> AsyncIterator[RunningPlatform]:
    """Start every service but these, and end them all afterwards."""
    ports = {name: servers.ports.pick() for name in PORTS}
    ports["postgres"] = servers.postgres.port
    addresses = Addresses(ports, servers.secrets, servers.rabbitmq.amqp_url)
    services = [service for service in SERVICES if service.name not in without]
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(running(_program(service, addresses, settings), servers.logs))
            for service in services
        ]
        for service, one in zip(services, started, strict=True):
            url = service_child(service, addresses).ready_url or ""
            await until(lambda url=url: answers(url), one, seconds=_START_SECONDS, every=0.1)  # type: ignore[misc]  # mypy cannot see a default's type
        yield RunningPlatform(started, servers, f"http://127.0.0.1:{ports['api']}")


async def make_key(pool: Pool, servers: Servers, tenant_id: int) -> str:
    """Make a key that may send events to the API of `running_platform`."""
    key = make_api_key()
    hashed = hash_secret(key.secret, pepper=servers.secrets.api_key_pepper.encode())
    await pool.execute(_KEY, key.id, tenant_id, hashed)
    return str(key)


def post(url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    """POST JSON and return the JSON of the answer."""
    request = urllib.request.Request(  # noqa: S310 - our own server
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - our own server
        return json.loads(reply.read())


def taken_by(port: int) -> int:
    """Return how many mails the sink has taken."""
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        return int(smtp.noop()[1])


@asynccontextmanager
async def _sink(servers: Servers) -> AsyncIterator[int]:
    """Start a server for mail; gives its port."""
    port = servers.ports.pick()
    environment = {"BENCH_SMTP_PORT": str(port), "PYTHONPATH": str(_TESTS)}
    program = Program("SMTP sink", [sys.executable, "-m", "bench.floors.smtp_sink"], environment)
    async with running(program, servers.logs) as started:

        async def fact() -> bool:
            try:
                return await asyncio.to_thread(taken_by, port) == 0
            except OSError:
                return False

        await until(fact, started, seconds=_START_SECONDS, every=0.05)
        yield port


def _program(service: Service, addresses: Addresses, settings: Mapping[str, str]) -> Program:
    environment = service_environment(service, addresses) | {"CARILLON_LOG_LEVEL": "WARNING"} | dict(settings)
    if service.role is not None:
        port = addresses.ports["postgres"]
        url = addresses.secrets.database_url(service.role, port=port, database=DATABASE)
        environment["CARILLON_DATABASE_URL"] = url
    return Program(service.name, service_child(service, addresses).command.argv, environment)


def _usual_environment(servers: Servers, smtp_port: int) -> dict[str, str]:
    url = servers.database_url("carillon_owner", DATABASE)
    return {
        "BENCH_SQLALCHEMY_URL": url.replace("postgresql://", "postgresql+psycopg://"),
        "BENCH_BROKER_URL": servers.rabbitmq.amqp_url,
        "BENCH_SMTP_PORT": str(smtp_port),
        "PYTHONPATH": str(_TESTS),
    }


def _usual_programs(port: int, environment: Mapping[str, str]) -> list[Program]:
    module = "bench.floors.usual_product"
    processes = 2 * (os.cpu_count() or 1)  # half of the time they wait for commits
    options = [f"--concurrency={processes}", "--without-gossip", "--without-mingle"]
    options += ["--without-heartbeat", "--loglevel=WARNING", "--pool=prefork"]
    web = ["uvicorn", f"{module}:web", "--port", str(port), "--log-level", "warning"]
    return [
        Program("usual web", [sys.executable, "-m", *web], environment, ends_with=[-signal.SIGTERM]),
        Program(
            "usual worker",
            [sys.executable, "-m", "celery", "-A", f"{module}:app", "worker", *options],
            environment,
        ),
    ]


async def _make_usual_tables(servers: Servers) -> None:
    make = (
        "from bench.floors.usual_product import Base, engine; from sqlalchemy.schema import CreateSchema; "
        "c = engine.connect(); c.execute(CreateSchema('usual')); Base.metadata.create_all(c); c.commit()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", make, env={**os.environ, **_usual_environment(servers, 0)}
    )
    if await process.wait() != 0:
        raise CountError("the usual product's tables could not be made")


def _summed(used: Mapping[str, Usage]) -> dict[str, Usage]:
    servers = {"broker", "database"}
    own = [usage for name, usage in used.items() if name not in servers]
    total = Usage(sum(usage.cpu for usage in own), sum(usage.resident for usage in own))
    return {"contender": total} | {name: used[name] for name in ("broker", "database")}
