"""Which file each container finds in its volume of secrets, and what is in it.

Every container has a volume of its own, so that none can read what only another one needs.
"""

from collections.abc import Mapping
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.platform import DATABASE
from carillon_local.postgres import SUPERUSER
from carillon_local.rabbitmq import USER
from carillon_local.secrets import OWNER_ROLE, Secrets

INSTALLATION = "installation"
INSTALLATION_FILE = "installation.json"
_POSTGRES_HOST, _POSTGRES_PORT = "postgres", 5432
_RABBITMQ_HOST, _RABBITMQ_PORT = "rabbitmq", 5672
_DATABASE_USERS = ("api", "dispatcher", "email-worker", "whatsapp-worker", "inapp-worker")
# RabbitMQ reads a user's password from no variable's file, but from a part of its configuration.
_RABBITMQ = "rabbitmq"
_LOGIN = "default_user = {user}\ndefault_pass = {password}\ndefault_user_tags.administrator = true\n"

Files = Mapping[str, str]


def superuser_url(secrets: Secrets) -> str:
    """Return the URL of PostgreSQL's maintenance database as superuser."""
    return f"postgresql://{SUPERUSER}:{secrets.superuser}@{_POSTGRES_HOST}:{_POSTGRES_PORT}/postgres"


def owner_url(secrets: Secrets) -> str:
    """Return the URL of the platform's database as the schema's owner."""
    return _database_url(secrets, OWNER_ROLE)


def secret_files(secrets: Secrets) -> Mapping[str, Files]:
    """Return the content of each file by the name of its volume and its own."""
    files: dict[str, dict[str, str]] = {
        name: {"database_url": _database_url(secrets, _role(name)), "broker_url": _broker_url(secrets)}
        for name in _DATABASE_USERS
    }
    webhooks = {
        "whatsapp_app_secret": secrets.whatsapp_app_secret,
        "whatsapp_verify_token": secrets.whatsapp_verify_token,
    }
    files["api"] |= {
        "key_pepper": secrets.api_key_pepper,
        "token_secret": secrets.api_token_secret,
        "unsubscribe_secret": secrets.unsubscribe_secret,
        "bounce_secret": secrets.bounce_secret,
        **webhooks,
    }
    files["email-worker"]["unsubscribe_secret"] = secrets.unsubscribe_secret
    files["whatsapp-worker"]["access_token"] = secrets.whatsapp_access_token
    return files | {
        "mock-providers": {
            "whatsapp_token": secrets.whatsapp_access_token,
            "bounce_secret": secrets.bounce_secret,
            **webhooks,
        },
        "postgres": {"superuser_password": secrets.superuser},
        _RABBITMQ: {"login.conf": _LOGIN.format(user=USER, password=secrets.broker)},
        INSTALLATION: {
            "migration_database_url": owner_url(secrets),
            "broker_url": _broker_url(secrets),
            "key_pepper": secrets.api_key_pepper,
        },
    }


def write_secret_files(secrets: Secrets, folder: Path) -> None:
    """Write every file below a folder that holds the volumes, replacing each in one step."""
    for volume, files in secret_files(secrets).items():
        for name, content in files.items():
            path = folder / volume / name
            Account().write_private(path, content)
            if volume == _RABBITMQ:  # its image has a user of its own, whose number is not ours to know
                path.chmod(0o644)


def _role(service: str) -> str:
    return f"carillon_{service.replace('-', '_')}"


def _database_url(secrets: Secrets, role: str) -> str:
    return secrets.database_url(role, host=_POSTGRES_HOST, port=_POSTGRES_PORT, database=DATABASE)


def _broker_url(secrets: Secrets) -> str:
    return f"amqp://{USER}:{secrets.broker}@{_RABBITMQ_HOST}:{_RABBITMQ_PORT}/"
