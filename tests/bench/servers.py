"""Private servers for one benchmark: on disk and durable, as in production."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from carillon_local.places import find_checkout, find_places
from carillon_local.ports import PortHolder
from carillon_local.postgres import PostgresServer
from carillon_local.postgres_binaries import ensure_binaries
from carillon_local.rabbitmq import RabbitmqPorts, RabbitmqServer
from carillon_local.rabbitmq_install import ensure_scripts
from carillon_local.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Servers:
    """The two servers, the passwords, and a folder for logs."""

    postgres: PostgresServer
    rabbitmq: RabbitmqServer
    secrets: Secrets
    logs: Path
    ports: PortHolder

    @property
    def trees(self) -> dict[str, int]:
        """Process ids of what is measured beside the contender."""
        return {"broker": self.rabbitmq.pid, "database": self.postgres.pid}

    def database_url(self, role: str, database: str) -> str:
        """Return the URL of a database for one role."""
        return self.secrets.database_url(role, port=self.postgres.port, database=database)


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Start both, and end and remove them afterwards."""
    places = find_places(find_checkout(Path(__file__)))
    ports, secrets = PortHolder(), Secrets()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=places.servers))
    places.account.own(folder)
    postgres = PostgresServer(
        folder=folder / "postgres",
        port=ports.pick(),
        password=secrets.superuser,
        binaries=ensure_binaries(places.servers, places.account),
        account=places.account,
    )
    rabbitmq = RabbitmqServer(
        folder=folder / "rabbitmq",
        ports=RabbitmqPorts(*(ports.pick() for _ in range(5))),
        password=secrets.broker,
        scripts=ensure_scripts(print),
        account=places.account,
    )
    with tempfile.TemporaryDirectory(prefix="carillon-bench-") as logs:
        try:
            rabbitmq.begin()
            postgres.start()
            rabbitmq.wait_ready()
            yield Servers(postgres, rabbitmq, secrets, Path(logs), ports)
        finally:
            postgres.stop()
            rabbitmq.kill()
            ports.release()
            shutil.rmtree(folder)
