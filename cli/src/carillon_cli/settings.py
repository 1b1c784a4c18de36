"""What the command line can be told from outside."""

from carillon_shared.settings import CarillonSettings, load_settings
from pydantic import Field, SecretStr


class CliSettings(CarillonSettings):
    """Settings of the command line; each wins over what `carillon up` recorded."""

    api_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s/]+/?$", description="The API; the one `carillon up` started."
    )
    api_key: SecretStr | None = Field(default=None, description="An API key, `ck_...`; goes with the URL.")
    api_key_pepper: SecretStr | None = Field(
        default=None, min_length=32, description="As the API has it; for `carillon keys create`."
    )
    migration_database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL as the schema's owner; for `carillon db` and `carillon keys`."
    )
    broker_url: SecretStr | None = Field(default=None, description="For `carillon topology`.")
    broker_management_url: SecretStr | None = Field(
        default=None, description="RabbitMQ's management API, to read bindings; its usual port when not set."
    )


def cli_settings() -> CliSettings:
    """Return the settings, or say what is wrong with them and exit with code 2."""
    return load_settings(CliSettings)
