"""What every service's settings share: names, secret files, and the fields all of them have."""

import os
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "CARILLON_"


class SecretFileError(Exception):
    """A `*_FILE` variable names a file that cannot be read."""

    def __init__(self, variable: str, error: OSError | UnicodeDecodeError) -> None:
        super().__init__(f"{variable} names a file that cannot be read: {_why(error)}")


class CarillonSettings(BaseSettings):
    """Settings from `CARILLON_<NAME>`, or from the file that `CARILLON_<NAME>_FILE` names (for secrets)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Given values first, then variables, then files."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _Files(settings_cls)


class ServiceSettings(CarillonSettings):
    """What every service that talks to the database and the broker can be told."""

    database_url: SecretStr = Field(description="PostgreSQL, as the service's own role: postgresql://...")
    broker_url: SecretStr = Field(description="RabbitMQ: amqp:// or amqps://.")
    metrics_host: str = Field(default="127.0.0.1", description="Address of health and metrics.")
    metrics_port: int = Field(default=9465, ge=0, le=65535, description="Their port; 0 takes a free one.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least level."
    )
    log_format: Literal["json", "console"] = Field(default="json", description="console is for people.")
    email_enabled: bool = Field(default=True, description="false: skip all mail, as channel_disabled.")
    whatsapp_enabled: bool = Field(default=True, description="false: skip all WhatsApp messages.")
    inapp_enabled: bool = Field(default=True, description="false: write nothing into feeds.")

    @property
    def switched_off(self) -> tuple[str, ...]:
        """The channels that are switched off for everybody."""
        channels = {
            "inapp": self.inapp_enabled,
            "email": self.email_enabled,
            "whatsapp": self.whatsapp_enabled,
        }
        return tuple(name for name, enabled in channels.items() if not enabled)


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return f"{PREFIX}{field.upper()}"


class _Files(PydanticBaseSettingsSource):
    """Reads a field from the file that its variable with `_FILE` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        name = f"{variable(field_name)}_FILE"
        path = os.environ.get(name)
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SecretFileError(name, error) from error

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        values = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error.strerror).lower()
