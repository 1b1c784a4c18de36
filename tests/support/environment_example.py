"""The text of `.env.example`: every setting of every process, read from the code.

`PYTHONPATH=tests python -m support.environment_example > .env.example` writes it.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from textwrap import wrap
from typing import Any

from carillon_shared.settings import ServiceSettings
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

PREFIX = "CARILLON_"
WIDTH = 110

INTRODUCTION = """\
Every setting of every process of Carillon, with its default. This file is made from the code, and a test
holds it there. None has to be set for `carillon up`, `make demo` or `docker compose up`: they make their
own secrets. With CARILLON_DATABASE_URL and CARILLON_BROKER_URL set, `carillon up` uses those servers and
starts none. Processes read variables only, never this file. Wrong values end a start with one line for each
problem. Each value can be in a file, as secrets should be:
CARILLON_API_KEY_PEPPER_FILE=/run/secrets/pepper"""

HEADINGS = {
    "carillon_shared": "Every service",
    "carillon_api": "services/api",
    "carillon_dispatcher": "services/dispatcher",
    "carillon_email_worker": "services/email-worker",
    "carillon_whatsapp_worker": "services/whatsapp-worker",
    "carillon_inapp_worker": "services/inapp-worker",
    "carillon_cli": "The `carillon` command",
    "carillon_mock_providers": "deploy/mock-providers",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its default as it would be written, None when it has to be given."""

    name: str
    default: str | None
    description: str
    secret: bool = False


OTHERS = {
    "Faults, for tests only": [
        Variable("CARILLON_CRASH_AT", "", "Crash point at which the process kills itself; none: never."),
        Variable("CARILLON_CRASH_AFTER_HITS", "1", "At which pass of that point."),
    ],
    "Tests": [
        Variable("CARILLON_TEST_BACKEND", "auto", "Where servers come from: auto, containers or local."),
        Variable("CARILLON_TEST_DATABASE_URL", "", "A PostgreSQL to use instead, as a superuser."),
        Variable("CARILLON_TEST_BROKER_URL", "", "A RabbitMQ to use instead."),
        Variable("CARILLON_TEST_MANAGEMENT_URL", "", "Its management API, when not on port 15672."),
        Variable("CARILLON_E2E_API_URL", "", "A running platform's API, for the end-to-end tests to use."),
        Variable("CARILLON_E2E_MOCK_URL", "", "The mock providers of that platform."),
        Variable("CARILLON_E2E_KEYS_COMMAND", "", "What `carillon keys create` is called as there."),
    ],
}
"""Variables that no settings class holds."""


def settings_classes() -> dict[str, type[BaseSettings]]:
    """Return each package's settings: the class that its module `settings` defines."""
    return {package: _class_of(package) for package in _packages()}


def variables_of(
    settings: type[BaseSettings], *, without: type[BaseSettings] | None = None
) -> list[Variable]:
    """Return the variables that a class reads, without those that another one has with the same default."""
    prefix = settings.model_config["env_prefix"]
    shared = without.model_fields if without else {}
    return [
        _variable(f"{prefix}{name}".upper(), field)
        for name, field in settings.model_fields.items()
        if name not in shared or shared[name].default != field.default
    ]


def sections() -> dict[str, list[Variable]]:
    """Return all variables under their headings."""
    found = settings_classes()
    shared = found.pop("carillon_shared")
    made = {HEADINGS["carillon_shared"]: variables_of(shared)}
    for package, settings in found.items():
        base = ServiceSettings if issubclass(settings, ServiceSettings) else None
        made[HEADINGS[package]] = variables_of(settings, without=base)
    return made | OTHERS


def example_text() -> str:
    """Return the whole file."""
    return "\n".join(
        [*_introduction(), *(line for heading in sections().items() for line in _section(*heading))]
    )


def _packages() -> list[str]:
    names = {module.name for module in pkgutil.iter_modules() if module.name.startswith("carillon_")}
    with_settings = {name for name in names if importlib.util.find_spec(f"{name}.settings")}
    return [name for name in HEADINGS if name in with_settings] + sorted(with_settings - set(HEADINGS))


def _class_of(package: str) -> type[BaseSettings]:
    if package == "carillon_shared":
        return ServiceSettings
    module = importlib.import_module(f"{package}.settings")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == module.__name__
    )
    return found


def _variable(name: str, field: FieldInfo) -> Variable:
    default = None if field.is_required() else _written(field.default)
    return Variable(name, default, field.description or "", secret="SecretStr" in str(field.annotation))


def _written(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool | Enum):
        return str(default.value if isinstance(default, Enum) else default).lower()
    return str(default)


def _introduction() -> Iterator[str]:
    yield from (f"# {line}" for line in INTRODUCTION.split("\n"))


def _section(heading: str, variables: list[Variable]) -> Iterator[str]:
    yield from ("", f"# ---- {heading} ----", "")
    for variable in variables:
        notes = ["Required."] * (variable.default is None) + ["Secret."] * variable.secret
        text = " ".join([variable.description, *notes])
        yield from (f"# {line}" for line in wrap(text, WIDTH - 2))
        yield f"#{variable.name}={variable.default or ''}"


if __name__ == "__main__":
    sys.stdout.write(example_text() + "\n")
