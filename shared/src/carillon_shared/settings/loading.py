"""Reading settings at the start, with one sentence per problem when they are wrong."""

import sys
from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

from carillon_shared.settings.base import CarillonSettings, SecretFileError, variable

WRONG_SETTINGS = 2
"""Exit code of a start with wrong settings."""

SettingsT = TypeVar("SettingsT", bound=CarillonSettings)


def load_settings(cls: type[SettingsT]) -> SettingsT:
    """Return the settings, or say what is wrong with them, one line each, and exit with code 2."""
    try:
        return cls()
    except ValidationError as error:
        problems = list(_sentences(cls, error))
    except (SecretFileError, SettingsError) as error:
        problems = [str(error)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    raise SystemExit(WRONG_SETTINGS)


def _sentences(cls: type[CarillonSettings], error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        yield _sentence(cls, detail)


def _sentence(cls: type[CarillonSettings], detail: ErrorDetails) -> str:
    if not detail["loc"]:
        return detail["msg"].removeprefix("Value error, ")
    name = str(detail["loc"][0])
    field = cls.model_fields.get(name)
    about = f" ({field.description})" if field is not None and field.description else ""
    if detail["type"] == "missing":
        return f"{variable(name)} is not set.{about}"
    return f"{variable(name)} is wrong: {detail['msg'].removeprefix('Value error, ')}.{about}"
