"""The processes of the platform, as data: what runs, with which settings, and when it is ready."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from carillon_local.children import ChildSpec
from carillon_local.processes import Command
from carillon_local.secrets import OWNER_ROLE, Secrets

HOST = "127.0.0.1"
DATABASE = "carillon"
# Keys, tokens and links of a database that was given were made with these.
_KEPT_WHEN_GIVEN = {
    "CARILLON_API_TOKEN_SECRET",
    "CARILLON_API_KEY_PEPPER",
    "CARILLON_UNSUBSCRIBE_SECRET",
    "CARILLON_PUBLIC_URL",
}
WHATSAPP_PHONE_NUMBER_ID = "106540352242922"

# Each visible port's usual number; another free one is taken when it is in use. ``None`` means any free one.
PORTS: Mapping[str, int | None] = {
    "api": 8080,
    "mock_http": 8025,
    "mock_smtp": 1025,
    "metrics_api": 9464,
    "metrics_dispatcher": 9465,
    "metrics_email": 9466,
    "metrics_whatsapp": 9467,
    "metrics_inapp": 9468,
    "postgres": None,
    "amqp": None,
    "management": None,
    "prometheus": None,
    "distribution": None,
    "epmd": None,
}


@dataclass(frozen=True, slots=True)
class Service:
    """One of the platform's own processes.

    Attributes:
        name: of the process and its log file.
        module: run with ``python -m``.
        role: the database login it uses, or ``None`` when it uses no database.
        metrics_port: name of its metrics port in ``PORTS``, or ``None``.
        ready_port: name of the port that answers at ``ready_path``.
        settings: further variables, whose values may name ports and secrets in braces.
    """

    name: str
    module: str
    role: str | None
    metrics_port: str | None
    ready_port: str
    ready_path: str = "/readyz"
    settings: Mapping[str, str] = field(default_factory=dict)


MOCK_PROVIDERS = Service(
    name="mock-providers",
    module="carillon_mock_providers",
    role=None,
    metrics_port=None,
    ready_port="mock_http",
    ready_path="/livez",
    settings={
        "CARILLON_MOCK_HOST": HOST,
        "CARILLON_MOCK_HTTP_PORT": "{mock_http}",
        "CARILLON_MOCK_SMTP_PORT": "{mock_smtp}",
        "CARILLON_MOCK_WHATSAPP_TOKEN": "{whatsapp_token}",
        "CARILLON_MOCK_WHATSAPP_PHONE_NUMBER_ID": WHATSAPP_PHONE_NUMBER_ID,
        "CARILLON_MOCK_WHATSAPP_APP_SECRET": "{whatsapp_app_secret}",
        "CARILLON_MOCK_WHATSAPP_VERIFY_TOKEN": "{whatsapp_verify_token}",
        # All tenants send from the one number, so their receipts come to one address.
        "CARILLON_MOCK_WHATSAPP_WEBHOOK_URL": f"http://{HOST}:{{api}}/v1/receipts/whatsapp/-",
        "CARILLON_MOCK_BOUNCE_URL": f"http://{HOST}:{{api}}/v1/receipts/email/-",
        "CARILLON_MOCK_BOUNCE_SECRET": "{bounce_secret}",
    },
)

SERVICES = (
    Service(
        name="api",
        module="carillon_api",
        role="carillon_api",
        metrics_port="metrics_api",
        ready_port="api",
        settings={
            "CARILLON_API_HOST": HOST,
            "CARILLON_API_PORT": "{api}",
            "CARILLON_API_KEY_PEPPER": "{api_key_pepper}",
            "CARILLON_API_TOKEN_SECRET": "{api_token_secret}",
            "CARILLON_API_WHATSAPP_APP_SECRET": "{whatsapp_app_secret}",
            "CARILLON_API_WHATSAPP_VERIFY_TOKEN": "{whatsapp_verify_token}",
            "CARILLON_API_BOUNCE_SECRET": "{bounce_secret}",
            "CARILLON_UNSUBSCRIBE_SECRET": "{unsubscribe_secret}",
        },
    ),
    Service(
        name="dispatcher",
        module="carillon_dispatcher",
        role="carillon_dispatcher",
        metrics_port="metrics_dispatcher",
        ready_port="metrics_dispatcher",
    ),
    Service(
        name="email-worker",
        module="carillon_email_worker",
        role="carillon_email_worker",
        metrics_port="metrics_email",
        ready_port="metrics_email",
        settings={
            "CARILLON_EMAIL_SMTP_HOST": HOST,
            "CARILLON_EMAIL_SMTP_PORT": "{mock_smtp}",
            "CARILLON_PUBLIC_URL": f"http://{HOST}:{{api}}",
            "CARILLON_UNSUBSCRIBE_SECRET": "{unsubscribe_secret}",
        },
    ),
    Service(
        name="whatsapp-worker",
        module="carillon_whatsapp_worker",
        role="carillon_whatsapp_worker",
        metrics_port="metrics_whatsapp",
        ready_port="metrics_whatsapp",
        settings={
            "CARILLON_WHATSAPP_API_URL": f"http://{HOST}:{{mock_http}}",
            "CARILLON_WHATSAPP_ACCESS_TOKEN": "{whatsapp_token}",
            "CARILLON_WHATSAPP_PHONE_NUMBER_ID": WHATSAPP_PHONE_NUMBER_ID,
            "CARILLON_WHATSAPP_FREE_TEXT": "always",  # nobody writes to a mock first
        },
    ),
    Service(
        name="inapp-worker",
        module="carillon_inapp_worker",
        role="carillon_inapp_worker",
        metrics_port="metrics_inapp",
        ready_port="metrics_inapp",
    ),
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers are, and with which passwords.

    Attributes:
        ports: every port, by its name in ``PORTS``.
        secrets: passwords of the database roles and the mock provider's token.
        broker_url: AMQP URL.
        database_url: given from outside and used by all services alike, or ``None``: the private one.
        migration_url: as ``database_url``, for the owner.
    """

    ports: Mapping[str, int]
    secrets: Secrets
    broker_url: str
    database_url: str | None = None
    migration_url: str | None = None

    def database_url_of(self, role: str) -> str:
        """Return the URL for one database role."""
        given = self.migration_url if role == OWNER_ROLE else None
        given = given or self.database_url
        return given or self.secrets.database_url(role, port=self.ports["postgres"], database=DATABASE)


def service_environment(service: Service, addresses: Addresses) -> dict[str, str]:
    """Return the whole environment of one service: what we were started with, and its settings."""
    values = {
        **addresses.ports,
        "whatsapp_token": addresses.secrets.whatsapp_access_token,
        "whatsapp_app_secret": addresses.secrets.whatsapp_app_secret,
        "whatsapp_verify_token": addresses.secrets.whatsapp_verify_token,
        "api_key_pepper": addresses.secrets.api_key_pepper,
        "api_token_secret": addresses.secrets.api_token_secret,
        "unsubscribe_secret": addresses.secrets.unsubscribe_secret,
        "bounce_secret": addresses.secrets.bounce_secret,
    }
    ours = {name: text.format(**values) for name, text in service.settings.items()}
    given = _own_environment()
    env = given | ours | {name: given[name] for name in _KEPT_WHEN_GIVEN & given.keys()}
    if service.role is not None:
        env["CARILLON_DATABASE_URL"] = addresses.database_url_of(service.role)
        env["CARILLON_BROKER_URL"] = addresses.broker_url
    if service.metrics_port is not None:
        env["CARILLON_METRICS_PORT"] = str(addresses.ports[service.metrics_port])
    return env


def service_child(service: Service, addresses: Addresses) -> ChildSpec:
    """Return how to run one service."""
    return ChildSpec(
        name=service.name,
        command=Command(
            argv=[sys.executable, "-m", service.module],
            env=service_environment(service, addresses),
        ),
        ready_url=f"http://{HOST}:{addresses.ports[service.ready_port]}{service.ready_path}",
    )


def migrate_command(addresses: Addresses) -> Command:
    """Return how to bring the database's tables up to date, as their owner."""
    env = {"CARILLON_MIGRATION_DATABASE_URL": addresses.database_url_of(OWNER_ROLE)}
    return Command(
        argv=[sys.executable, "-m", "carillon_shared.db", "migrate"],
        env=_own_environment() | env,
    )


def declare_command(addresses: Addresses) -> Command:
    """Return how to declare exchanges and queues."""
    env = {"CARILLON_BROKER_URL": addresses.broker_url}
    return Command(
        argv=[sys.executable, "-m", "carillon_shared.broker", "declare"],
        env=_own_environment() | env,
    )


def visible_urls(ports: Mapping[str, int]) -> dict[str, str]:
    """Return the addresses a person may want to open."""
    return {
        "api": f"http://{HOST}:{ports['api']}",
        "mock providers": f"http://{HOST}:{ports['mock_http']}",
        "mock SMTP": f"smtp://{HOST}:{ports['mock_smtp']}",
    }


def _own_environment() -> dict[str, str]:
    """Return what we were started with, less the addresses that each process gets for itself."""
    given = {"CARILLON_DATABASE_URL", "CARILLON_MIGRATION_DATABASE_URL", "CARILLON_BROKER_URL"}
    return {name: value for name, value in os.environ.items() if name not in given}
