"""What the platform costs while nobody uses it."""

import asyncio
from contextlib import AsyncExitStack

from bench.accounting import Usage, usages
from bench.contender import Program, Started, running, until
from bench.ground import DATABASE
from bench.intake import answers
from bench.results import Resting
from bench.servers import Servers
from carillon_local.platform import PORTS, SERVICES, Addresses, Service, service_child, service_environment

_START_SECONDS = 60.0
_SETTLE_SECONDS = 10.0  # what a start leaves behind is done by then


async def rest(servers: Servers, *, seconds: float) -> list[Resting]:
    """Start every service, leave all alone for so long, and tell what each process tree used."""
    addresses = _addresses(servers)
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(running(_program(service, addresses), servers.logs))
            for service in SERVICES
        ]
        for service, one in zip(SERVICES, started, strict=True):
            await _ready(service, one, addresses)
        trees = {one.name: one.process.pid for one in started} | servers.trees
        await asyncio.sleep(_SETTLE_SECONDS)
        before = usages(trees)
        await asyncio.sleep(seconds)
        after = usages(trees)
    return [_resting(name, before[name], after[name], seconds) for name in trees]


def _addresses(servers: Servers) -> Addresses:
    ports = {name: servers.ports.pick() for name in PORTS}
    return Addresses(ports | {"postgres": servers.postgres.port}, servers.secrets, servers.rabbitmq.amqp_url)


def _program(service: Service, addresses: Addresses) -> Program:
    command = service_child(service, addresses).command
    environment = service_environment(service, addresses)
    if service.role is not None:
        url = addresses.secrets.database_url(
            service.role, port=addresses.ports["postgres"], database=DATABASE
        )
        environment["CARILLON_DATABASE_URL"] = url
    return Program(service.name, command.argv, environment)


async def _ready(service: Service, started: Started, addresses: Addresses) -> None:
    url = service_child(service, addresses).ready_url

    async def fact() -> bool:
        return url is not None and await answers(url)

    await until(fact, started, seconds=_START_SECONDS, every=0.1)


def _resting(name: str, before: Usage, after: Usage, seconds: float) -> Resting:
    return Resting(name, (after.cpu - before.cpu) / seconds, after.resident)
