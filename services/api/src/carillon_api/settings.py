"""Everything the API can be told from outside."""

import os
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_PREFIX = "CARILLON_"


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `CARILLON_X` from the file that `CARILLON_X_FILE` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the base's signature
        path = os.environ.get(f"{_PREFIX}{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - one read of a named file
            return file.read().strip(), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None}


class ApiSettings(BaseSettings):
    """Settings of the API, from `CARILLON_<NAME>`; secrets also from the file in `CARILLON_<NAME>_FILE`."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    database_url: SecretStr = Field(description="PostgreSQL, as the role carillon_api.")
    broker_url: SecretStr = Field(description="RabbitMQ, amqp:// or amqps://.")
    api_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    api_port: int = Field(default=8080, ge=0, le=65535)
    api_metrics_port: int = Field(
        default=9464, ge=0, le=65535, description="Health and metrics; 0: any free."
    )
    api_token_secret: SecretStr = Field(min_length=32, description="Signs subscriber tokens (HS256).")
    api_key_pepper: SecretStr = Field(min_length=32, description="Keys the hashes of API key secrets.")
    api_database_connections: int = Field(default=10, ge=3, le=200)
    api_max_waiting_events: int = Field(
        default=20_000, ge=1, description="Events that wait for their commit; beyond: 503."
    )
    api_shutdown_seconds: int = Field(default=10, ge=1, description="Time for open requests after SIGTERM.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Given values first, then the environment, then secret files."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @property
    def pepper(self) -> bytes:
        """The key of API key hashes, as bytes."""
        return self.api_key_pepper.get_secret_value().encode()
