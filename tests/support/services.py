"""Real PostgreSQL and RabbitMQ for tests: given by URL, from containers, or private servers of this session.

``CARILLON_TEST_DATABASE_URL`` (a superuser) and ``CARILLON_TEST_BROKER_URL`` win. Otherwise
``CARILLON_TEST_BACKEND`` chooses: ``containers``, ``local``, or ``auto`` (containers where an engine answers
and has the images, else local). Nothing is started until a test asks for it, and both start side by side.
"""

import os
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

from carillon_local.database import drop_database, prepare_database
from carillon_local.secrets import Secrets
from support.container_servers import ContainerServers, containers_usable
from support.local_servers import LocalServers

POSTGRES = "postgres"
RABBITMQ = "rabbitmq"


@dataclass(frozen=True, slots=True)
class PostgresService:
    """A PostgreSQL server with the login roles of the platform."""

    superuser_url: str
    secrets: Secrets = field(default_factory=Secrets)

    def url(self, role: str, database: str) -> str:
        """Return the URL of one database for one role, such as ``carillon_api``."""
        place = urlsplit(self.superuser_url)
        return self.secrets.database_url(
            role, host=place.hostname or "", port=place.port or 5432, database=database
        )

    def superuser_url_of(self, database: str) -> str:
        """Return the URL of one database for the superuser."""
        return urlunsplit(urlsplit(self.superuser_url)._replace(path=f"/{database}"))

    async def create_database(self) -> str:
        """Create an empty database, owned by ``carillon_owner``, and return its name."""
        name = f"test_{uuid4().hex}"
        await prepare_database(self.superuser_url, name, self.secrets)
        return name

    async def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions in it."""
        await drop_database(self.superuser_url, name)


@dataclass(frozen=True, slots=True)
class RabbitmqService:
    """A RabbitMQ node; each test takes a virtual host of its own, so names never meet."""

    amqp_url: str
    management_url: str

    def url(self, vhost: str) -> str:
        """Return the AMQP URL of one virtual host."""
        return urlunsplit(urlsplit(self.amqp_url)._replace(path=f"/{quote(vhost, safe='')}"))

    def create_vhost(self) -> str:
        """Create a virtual host that our user may use in full, and return its name."""
        name = f"test_{uuid4().hex}"
        user = quote(urlsplit(self.management_url).username or "", safe="")
        self.manage("PUT", f"/api/vhosts/{name}")
        allowed = b'{"configure": ".*", "write": ".*", "read": ".*"}'
        self.manage("PUT", f"/api/permissions/{name}/{user}", allowed)
        return name

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its queues, closing the connections to it."""
        self.manage("DELETE", f"/api/vhosts/{name}")

    def manage(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Call the management API and return the answer's body."""
        place = urlsplit(self.management_url)
        login = b64encode(f"{place.username}:{place.password}".encode()).decode()
        request = urllib.request.Request(  # noqa: S310 - the address of our own server
            f"{place.scheme}://{place.hostname}:{place.port}{path}",
            data=body,
            method=method,
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - as above
            answer: bytes = response.read()
        return answer


class Servers(Protocol):
    """A way to get the two servers. ``begin`` must not wait; the others wait and give addresses."""

    def begin(self, names: Iterable[str]) -> None:
        """Start those that are named and do not run yet."""

    def postgres_url(self) -> str:
        """Wait for PostgreSQL and return its superuser URL."""

    def rabbitmq_urls(self) -> tuple[str, str]:
        """Wait for RabbitMQ and return its AMQP and management URLs."""

    def close(self) -> None:
        """End everything that was started and remove its data."""


class Services:
    """What the fixtures hand out; made once per session, starts nothing by itself."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._servers: Servers | None = None
        self._postgres: PostgresService | None = None
        self._rabbitmq: RabbitmqService | None = None

    def begin(self, names: Iterable[str]) -> None:
        """Start the named servers that no URL is given for, without waiting for them."""
        missing = [name for name in names if not _given(name)]
        if not missing:
            return
        if self._servers is None:
            self._servers = _choose(self._say)
        self._servers.begin(missing)

    def postgres(self) -> PostgresService:
        """Return the session's PostgreSQL once it accepts connections."""
        if self._postgres is None:
            self.begin([POSTGRES])
            self._postgres = PostgresService(_given(POSTGRES) or self._started().postgres_url())
        return self._postgres

    def rabbitmq(self) -> RabbitmqService:
        """Return the session's RabbitMQ once it accepts connections."""
        if self._rabbitmq is None:
            self.begin([RABBITMQ])
            given = _given(RABBITMQ)
            urls = (given, _given_management(given)) if given else self._started().rabbitmq_urls()
            self._rabbitmq = RabbitmqService(*urls)
        return self._rabbitmq

    def close(self) -> None:
        """End what this session started."""
        if self._servers is not None:
            self._servers.close()
            self._servers = None

    def _started(self) -> Servers:
        assert self._servers is not None, "begin() comes first"
        return self._servers


def _given(name: str) -> str | None:
    variable = {POSTGRES: "CARILLON_TEST_DATABASE_URL", RABBITMQ: "CARILLON_TEST_BROKER_URL"}[name]
    return os.environ.get(variable) or None


def _given_management(amqp_url: str) -> str:
    """Return the given management address, else the usual port beside the broker."""
    if given := os.environ.get("CARILLON_TEST_MANAGEMENT_URL"):
        return given
    place = urlsplit(amqp_url)
    return f"http://{place.username}:{place.password}@{place.hostname}:15672"


def _choose(say: Callable[[str], None]) -> Servers:
    backend = os.environ.get("CARILLON_TEST_BACKEND", "auto")
    if backend == "containers" or (backend == "auto" and containers_usable()):
        return ContainerServers()
    if backend in {"auto", "local"}:
        return LocalServers(say)
    raise ValueError(f"CARILLON_TEST_BACKEND is {backend!r}; it may be auto, containers or local")
