"""The private servers as children of the supervisor."""

from collections.abc import Callable, Mapping

from carillon_local.children import ChildSpec
from carillon_local.places import Places
from carillon_local.postgres import PostgresServer
from carillon_local.postgres_binaries import ensure_binaries
from carillon_local.rabbitmq import RabbitmqPorts, RabbitmqServer
from carillon_local.rabbitmq_install import ensure_scripts
from carillon_local.secrets import Secrets


def private_postgres(places: Places, ports: Mapping[str, int], secrets: Secrets) -> PostgresServer:
    """Return the checkout's own PostgreSQL, not started."""
    return PostgresServer(
        folder=places.servers / "postgres",
        port=ports["postgres"],
        password=secrets.superuser,
        binaries=ensure_binaries(places.servers, places.account),
        account=places.account,
    )


def private_rabbitmq(
    places: Places,
    ports: Mapping[str, int],
    secrets: Secrets,
    *,
    say: Callable[[str], None],
) -> RabbitmqServer:
    """Return the checkout's own RabbitMQ, not started; installs the package when it is missing."""
    names = ("amqp", "management", "prometheus", "distribution", "epmd")
    return RabbitmqServer(
        folder=places.servers / "rabbitmq",
        ports=RabbitmqPorts(**{name: ports[name] for name in names}),
        password=secrets.broker,
        scripts=ensure_scripts(say),
        account=places.account,
    )


def postgres_child(server: PostgresServer) -> ChildSpec:
    """Return how the supervisor runs PostgreSQL."""
    return ChildSpec(name="postgres", command=server.command, ready=server.is_ready)


def port_mapper_child(server: RabbitmqServer) -> ChildSpec:
    """Return how the supervisor runs Erlang's port mapper, which RabbitMQ needs first."""
    return ChildSpec(
        name="epmd",
        command=server.port_mapper_command,
        ready=server.port_mapper_is_ready,
        stop_seconds=5,
    )


def rabbitmq_child(server: RabbitmqServer) -> ChildSpec:
    """Return how the supervisor runs RabbitMQ; its banner of twenty lines is left to its file."""
    return ChildSpec(
        name="rabbitmq", command=server.command, ready=server.is_ready, ready_seconds=120, shown=False
    )
