"""Addresses of servers: from the environment, else as `carillon up` recorded them."""

from pathlib import Path

from carillon_local.launcher import status
from carillon_local.places import find_places
from carillon_local.secrets import load_secrets

from carillon_cli.failures import NotReachableError, WrongUseError
from carillon_cli.settings import CliSettings


def owner_database_url(settings: CliSettings, checkout: Path) -> str:
    """Return the URL of the database as the schema's owner. Raises `NotReachableError` when none is known."""
    if settings.migration_database_url is not None:
        return settings.migration_database_url.get_secret_value()
    return _recorded(checkout, "migration_database", "CARILLON_MIGRATION_DATABASE_URL")


def broker_url(settings: CliSettings, checkout: Path) -> str:
    """Return the AMQP URL of the broker. Raises `NotReachableError` when none is known."""
    if settings.broker_url is not None:
        return settings.broker_url.get_secret_value()
    return _recorded(checkout, "broker", "CARILLON_BROKER_URL")


def management_url(settings: CliSettings, checkout: Path) -> str | None:
    """Return the broker's management address, None to look at its usual port."""
    if settings.broker_management_url is not None:
        return settings.broker_management_url.get_secret_value()
    if settings.broker_url is not None:
        return None
    return status(checkout).urls.get("broker_management")


def api_key_pepper(settings: CliSettings, checkout: Path) -> bytes:
    """Return what keys the hashes of API keys. Raises `WrongUseError` when nothing says it."""
    if settings.api_key_pepper is not None:
        return settings.api_key_pepper.get_secret_value().encode()
    if status(checkout).backend == "local":
        return load_secrets(find_places(checkout).secrets_file).api_key_pepper.encode()
    raise WrongUseError(
        "CARILLON_API_KEY_PEPPER is not set: a key made without the API's own pepper would not work."
    )


def _recorded(checkout: Path, name: str, variable: str) -> str:
    found = status(checkout)
    url = found.urls.get(name)
    if url is None and found.backend == "compose":
        raise NotReachableError(
            "Only containers reach the servers of this platform: "
            f"use `docker compose run --rm cli` in place of `carillon`, or set {variable}."
        )
    if url is None:
        raise NotReachableError(f"No platform runs here: start one with `carillon up`, or set {variable}.")
    return url
