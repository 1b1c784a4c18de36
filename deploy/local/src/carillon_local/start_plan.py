"""Everything that is decided before the first process starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from carillon_local.places import Places
from carillon_local.platform import DATABASE, PORTS, Addresses, visible_urls
from carillon_local.ports import PortHolder
from carillon_local.postgres import PostgresServer
from carillon_local.rabbitmq import RabbitmqServer
from carillon_local.secrets import OWNER_ROLE, load_secrets
from carillon_local.server_children import private_postgres, private_rabbitmq


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What to start and where it will be found.

    Attributes:
        addresses: of the servers, as the services see them.
        postgres: the private server, or ``None`` when a database URL was given.
        rabbitmq: the private node, or ``None`` when a broker URL was given.
        urls: for people and for the command line; those of the servers hold passwords.
    """

    addresses: Addresses
    postgres: PostgresServer | None
    rabbitmq: RabbitmqServer | None
    urls: dict[str, str]


def make_plan(
    places: Places,
    *,
    environment: Mapping[str, str],
    holder: PortHolder,
    remembered: Mapping[str, int],
    say: Callable[[str], None],
) -> StartPlan:
    """Pick ports, load passwords, and prepare the private servers' folders.

    ``CARILLON_DATABASE_URL`` and ``CARILLON_BROKER_URL`` each win over the private server. A given database
    is used as it is: its roles, and what they may do, are the giver's concern.

    Raises:
        LocalError: when a server is missing and cannot be installed or prepared.
    """
    ports = holder.pick_all(PORTS, remembered)
    secrets = load_secrets(places.secrets_file)
    database_url = environment.get("CARILLON_DATABASE_URL")
    broker_url = environment.get("CARILLON_BROKER_URL")
    postgres = None if database_url else private_postgres(places, ports, secrets)
    rabbitmq = None if broker_url else private_rabbitmq(places, ports, secrets, say=say)
    for server in (postgres, rabbitmq):
        if server is not None:
            server.prepare()
    addresses = Addresses(
        ports=ports,
        secrets=secrets,
        broker_url=broker_url or (rabbitmq.amqp_url if rabbitmq else ""),
        database_url=database_url,
        migration_url=environment.get("CARILLON_MIGRATION_DATABASE_URL"),
    )
    return StartPlan(addresses, postgres, rabbitmq, _urls(addresses, postgres, rabbitmq))


def _urls(
    addresses: Addresses,
    postgres: PostgresServer | None,
    rabbitmq: RabbitmqServer | None,
) -> dict[str, str]:
    urls = visible_urls(addresses.ports)
    urls["broker"] = addresses.broker_url
    urls["operator_database"] = addresses.database_url_of("carillon_operator")
    urls["migration_database"] = addresses.database_url_of(OWNER_ROLE)
    if postgres is not None:
        urls["superuser_database"] = postgres.superuser_url.removesuffix("postgres") + DATABASE
    if rabbitmq is not None:
        urls["broker_management"] = rabbitmq.management_url
        urls["broker_metrics"] = rabbitmq.prometheus_url
    return urls
