"""The two servers from containers, through testcontainers."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from carillon_local.backend import pinned_images
from carillon_local.docker_engine import engine_answers, has_images
from carillon_local.postgres import answers_startup
from carillon_local.rabbitmq import answers_amqp
from carillon_local.secrets import new_password
from support.waiting import wait_until
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

_IMAGES = pinned_images(Path(__file__).parents[2])
POSTGRES_IMAGE = _IMAGES["POSTGRES_IMAGE"]
RABBITMQ_IMAGE = _IMAGES["RABBITMQ_IMAGE"]
_SECONDS = 90


def containers_usable() -> bool:
    """Tell whether a Docker engine answers and already has both images."""
    return engine_answers() and has_images((POSTGRES_IMAGE, RABBITMQ_IMAGE))


class ContainerServers:
    """Starts the containers when asked, and removes them when closed."""

    def __init__(self) -> None:
        # The session removes its containers itself, so no helper image has to be pulled for that.
        testcontainers_config.ryuk_disabled = True
        self._password = new_password()
        self._containers: dict[str, DockerContainer] = {}

    def begin(self, names: Iterable[str]) -> None:
        """Start the slow one first; neither is waited for."""
        if "rabbitmq" in names and "rabbitmq" not in self._containers:
            node = DockerContainer(RABBITMQ_IMAGE).with_exposed_ports(5672, 15672)
            node.with_envs(RABBITMQ_DEFAULT_USER="carillon", RABBITMQ_DEFAULT_PASS=self._password)
            self._containers["rabbitmq"] = node.start()
        if "postgres" in names and "postgres" not in self._containers:
            server = DockerContainer(POSTGRES_IMAGE).with_exposed_ports(5432)
            server.with_env("POSTGRES_PASSWORD", self._password)
            server.with_command("postgres -c max_connections=200")
            self._containers["postgres"] = server.start()

    def postgres_url(self) -> str:
        """Wait for PostgreSQL and return its superuser URL."""
        host, port = self._address("postgres", 5432)
        wait_until(lambda: answers_startup(host, port), seconds=_SECONDS, what="PostgreSQL in its container")
        return f"postgresql://postgres:{self._password}@{host}:{port}/postgres"

    def rabbitmq_urls(self) -> tuple[str, str]:
        """Wait for RabbitMQ and return its AMQP and management URLs."""
        host, port = self._address("rabbitmq", 5672)
        wait_until(lambda: answers_amqp(host, port), seconds=_SECONDS, what="RabbitMQ in its container")
        _, management = self._address("rabbitmq", 15672)
        login = f"carillon:{self._password}"
        return f"amqp://{login}@{host}:{port}/", f"http://{login}@{host}:{management}"

    def close(self) -> None:
        """Stop and remove the containers."""
        for container in self._containers.values():
            container.stop()
        self._containers.clear()

    def _address(self, name: str, port: int) -> tuple[str, int]:
        container = self._containers[name]
        host = container.get_container_host_ip()
        # The published port is IPv4's; "localhost" could be tried as IPv6 first.
        host = "127.0.0.1" if host == "localhost" else host
        place = urlsplit(f"//{host}:{container.get_exposed_port(port)}")
        return place.hostname or host, place.port or port
