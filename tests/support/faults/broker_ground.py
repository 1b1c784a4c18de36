"""A platform on a RabbitMQ of its own, which a file's tests may break; the database is the session's."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from carillon_local.rabbitmq import RabbitmqServer
from carillon_shared.broker.declare import declare
from carillon_shared.topology.carillon import carillon_topology
from support.broker_disk import queue_on_disk
from support.local_servers import LocalServers
from support.migrated import MigratedDatabase
from support.platform import Platform, running_platform
from support.services import RabbitmqService
from support.waiting import eventually, wait_until

_ON_DISK_SECONDS = 30.0


@dataclass(slots=True)
class BrokerGround:
    """A platform and the broker below it."""

    platform: Platform
    rabbitmq: RabbitmqServer

    async def manage(self, method: str, path: str) -> Any:
        """Call the management API and return what it answers."""
        service = RabbitmqService(self.rabbitmq.amqp_url, self.rabbitmq.management_url)
        answer = await asyncio.to_thread(service.manage, method, path)
        return json.loads(answer) if answer else None

    async def connections(self) -> list[str]:
        """Return the names of the connections that the broker knows now."""
        return [row["name"] for row in await self.manage("GET", "/api/connections?columns=name")]

    async def channels(self) -> int:
        """Return how many broker channels are open now."""
        return len(await self.manage("GET", "/api/channels?columns=name"))

    async def close_connections(self) -> int:
        """Close every connection from the broker's side; return how many there were."""
        names = await self.connections()
        for name in names:
            await self.manage("DELETE", f"/api/connections/{quote(name, safe='')}")
        return len(names)

    async def control(self, *command: str) -> None:
        """Run `rabbitmqctl` on the node."""
        await asyncio.to_thread(_control, self.rabbitmq, command)

    async def killed_and_started(self) -> None:
        """End the broker as a power cut would, and start it again."""
        await asyncio.to_thread(self.rabbitmq.kill)
        await asyncio.to_thread(self.rabbitmq.start)

    async def readiness(self, name: str) -> dict[str, str]:
        """Return what each readiness check of a service says."""
        url = f"{self.platform.url_of(name)}/readyz"
        async with httpx2.AsyncClient(trust_env=False) as http:
            reply = await http.get(url, params={"verbose": ""}, timeout=10)
        checks: dict[str, str] = reply.json()["checks"]
        return checks

    async def metrics(self, name: str) -> str:
        """Return what a service shows on `/metrics`."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{self.platform.url_of(name)}/metrics", timeout=10)).text

    async def says(self, name: str, check: str, *words: str, seconds: float = 60) -> None:
        """Wait until a readiness check of a service says all of these words."""

        async def look() -> bool:
            found = (await self.readiness(name))[check]
            return all(word in found for word in words)

        await eventually(look, seconds=seconds, what=f"{check} of {name} to say {words}")


@asynccontextmanager
async def broker_ground(
    database: MigratedDatabase,
    logs: Path,
    *,
    servers: LocalServers,
    extra: Mapping[str, Mapping[str, str]],
) -> AsyncIterator[BrokerGround]:
    """Run every service, once the queues would outlive a kill. `extra` are further variables by service."""
    server = servers.new_rabbitmq("broken-rabbitmq")
    server.start()
    await declare(server.amqp_url)
    queues = [queue.name for queue in carillon_topology().queues]
    wait_until(
        lambda: all(queue_on_disk(server, name) for name in queues),
        seconds=_ON_DISK_SECONDS,
        what="the queues to be on disk",
    )
    async with running_platform(
        database,
        server.amqp_url,
        logs,
        extra={name: dict(variables) for name, variables in extra.items()},
        management_url=server.management_url,
    ) as platform:
        yield BrokerGround(platform, server)


def _control(server: RabbitmqServer, command: tuple[str, ...]) -> None:
    subprocess.run(  # noqa: S603 - RabbitMQ's own tool, on the node of this test
        [server.scripts / "rabbitmqctl", "-n", server.node_name, *command],
        env={**os.environ, **server._environment()},
        check=True,
        capture_output=True,
        timeout=60,
    )
