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
# In milliseconds. What the management API tells of queues and connections is as old as the first two, usually
# 5,000 and 10,000, and the checker waits for it. A dead letter that nothing took is offered again after the
# third, usually three minutes.
_PROMPT = """\
[{rabbit, [
  {quorum_tick_interval, 1000},
  {collect_statistics_interval, 1000},
  {dead_letter_worker_publisher_confirm_timeout, 2000}
]}].
"""


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

    async def held(self, queue: str) -> int:
        """Return how many messages a queue has, also those it cannot dead-letter, which AMQP leaves out."""
        found = await self.manage("GET", f"/api/queues/%2F/{queue}?columns=messages")
        return int(found.get("messages", 0))

    async def connections(self) -> int:
        """Return how many connections are open at this moment, which the management API tells late."""
        found = await self.control("list_connections", "pid", "--no-table-headers")
        return len(found.splitlines())

    async def connections_are(self, wanted: int) -> None:
        """Wait until so many connections are open, no more and no fewer."""

        async def look() -> bool:
            return await self.connections() == wanted

        await eventually(look, seconds=90, what=f"{wanted} connections")

    async def close_connections(self) -> int:
        """Close every connection from the broker's side; return how many there were."""
        found = await self.connections()
        await self.control("close_all_connections", "the test says so")
        return found

    async def control(self, *command: str) -> str:
        """Run `rabbitmqctl` on the node; return what it prints."""
        return await asyncio.to_thread(control, self.rabbitmq, *command)

    async def killed_and_started(self) -> None:
        """End the broker as a power cut would, and start it again."""
        await asyncio.to_thread(self.rabbitmq.kill)
        await asyncio.to_thread(self.rabbitmq.start)


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
    server.prepare()
    server.account.write_private(server.folder / "advanced.config", _PROMPT)
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


def control(server: RabbitmqServer, *command: str) -> str:
    """Run `rabbitmqctl` on a node; return what it prints."""
    return subprocess.run(  # noqa: S603 - RabbitMQ's own tool, on the node of this test
        [server.scripts / "rabbitmqctl", "-q", "-n", server.node_name, *command],
        env={**os.environ, **server._environment()},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
