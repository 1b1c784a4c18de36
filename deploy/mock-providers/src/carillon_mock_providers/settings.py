"""Settings of the mock providers, read from ``CARILLON_MOCK_*`` variables."""

import os
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "CARILLON_MOCK_"


class MockSettings(BaseSettings):
    """Everything that can be set; the defaults suit a demo on one machine."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    host: str = Field("127.0.0.1", description="Address both servers listen on.")
    http_port: int = Field(8025, ge=0, le=65535, description="Page, JSON API, WhatsApp; 0 takes a free port.")
    smtp_port: int = Field(1025, ge=0, le=65535, description="SMTP; 0 takes a free port.")

    smtp_user: str = Field("", description="With a user set, mail is refused before AUTH succeeded.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    smtp_size_limit: int = Field(25_000_000, gt=0, description="Largest message, in bytes (ESMTP SIZE).")

    whatsapp_token: SecretStr = Field(
        SecretStr("mock-whatsapp-token"), description="Bearer token the WhatsApp API asks for."
    )
    resend_api_key: SecretStr = Field(
        SecretStr("mock-resend-key"), description="API key that Resend's interface asks for."
    )
    twilio_auth_token: SecretStr = Field(
        SecretStr("mock-twilio-token"),
        description="Auth token that Twilio's interface asks for.",
    )
    whatsapp_phone_number_id: str = Field("", description="The one sending number known; empty accepts any.")
    whatsapp_display_number: str = Field("97675550100", description="Sending number shown in webhooks.")
    whatsapp_app_secret: SecretStr = Field(
        SecretStr("mock-app-secret"), description="Key of the X-Hub-Signature-256 header."
    )
    whatsapp_verify_token: SecretStr = Field(
        SecretStr("mock-verify-token"), description="Token of the webhook verification request."
    )
    whatsapp_webhook_url: str = Field("", description="Where statuses are posted; empty posts none.")
    whatsapp_status_delay_seconds: float = Field(0.2, ge=0, description="Pause before each status.")
    whatsapp_messages_per_second: float = Field(
        0, ge=0, description="Throughput of a sending number, above it error 130429; 0 is without limit."
    )
    whatsapp_pair_interval_seconds: float = Field(
        0, ge=0, description="Least time between messages to one person, else error 131056; 0 is off."
    )

    bounce_url: str = Field("", description="Where mails that come back are posted; empty posts none.")
    bounce_secret: SecretStr = Field(
        SecretStr("mock-bounce-secret"), description="Key of the X-Carillon-Signature header."
    )

    simulators: bool = Field(default=True, description="Whether simulator recipients and phone twins act.")
    slow_seconds: float = Field(2.0, ge=0, description="How late the slow simulator answers.")
    bounce_seconds: float = Field(0.5, ge=0, description="How long after acceptance a mail bounces.")
    retry_failures: int = Field(2, ge=0, description="Refusals of the retry simulator before it accepts.")
    seed: int = Field(0, description="Seed of the draws for rules with a rate.")

    kept_records: int = Field(200_000, gt=0, description="Messages and attempts remembered, each.")
    kept_sources: int = Field(5_000, gt=0, description="Latest messages whose full source is kept.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Given values first, then variables, then the files that variables ending in ``_FILE`` name."""
        del dotenv_settings, file_secret_settings
        files = InitSettingsSource(settings_cls, init_kwargs=_from_files(settings_cls))
        return init_settings, env_settings, files


def _from_files(settings: type[BaseSettings]) -> dict[str, Any]:
    """Return the fields that are given by files. Raises ``OSError`` for a file that cannot be read."""
    paths = {name: os.environ.get(f"{PREFIX}{name.upper()}_FILE") for name in settings.model_fields}
    return {name: Path(path).read_text(encoding="utf-8").strip() for name, path in paths.items() if path}
