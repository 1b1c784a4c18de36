"""Everything the WhatsApp worker can be told from outside."""

from typing import Literal, Self

from carillon_shared.settings import ServiceSettings, variable
from pydantic import Field, SecretStr, model_validator


class WhatsappSettings(ServiceSettings):
    """Settings of the WhatsApp worker."""

    metrics_port: int = Field(default=9467, ge=0, le=65535, description="Health and metrics; 0: any free.")
    whatsapp_provider: Literal["cloud_api", "twilio", "sandbox"] = Field(
        default="cloud_api", description="cloud_api and twilio send; sandbox only logs."
    )
    whatsapp_api_url: str = Field(
        default="https://graph.facebook.com", pattern=r"^https?://[^\s/]+/?$", description="Meta's Graph API."
    )
    whatsapp_api_version: str = Field(default="v23.0", pattern=r"^v\d{1,2}\.\d$", description="Its version.")
    whatsapp_phone_number_id: str | None = Field(
        default=None, pattern=r"^\d{1,32}$", description="The id of the sending number, not the number."
    )
    whatsapp_access_token: SecretStr | None = Field(default=None, description="A system user's token.")
    whatsapp_twilio_url: str = Field(
        default="https://api.twilio.com", pattern=r"^https?://[^\s/]+/?$", description="Twilio's REST API."
    )
    whatsapp_twilio_account_sid: str | None = Field(
        default=None, pattern=r"^AC[0-9a-zA-Z]{1,64}$", description="The account that sends over Twilio."
    )
    whatsapp_twilio_auth_token: SecretStr | None = Field(default=None, description="Its auth token.")
    whatsapp_twilio_sender: str | None = Field(
        default=None, pattern=r"^\+\d{7,15}$", description="Its WhatsApp sender, such as +12025550100."
    )
    whatsapp_twilio_contents: dict[str, str] = Field(
        default={},
        description='Content sids of templates as JSON: {"ticket_status/mn": "HX..."}.',
    )
    whatsapp_free_text: Literal["window", "always"] = Field(
        default="window",
        description="window: only to those who wrote within 24 hours, as Meta demands; always: a mock's way.",
    )
    whatsapp_connections: int = Field(default=10, ge=1, le=200, description="Connections kept open.")
    whatsapp_concurrency: int = Field(default=20, ge=1, le=1_000, description="Messages sent at once.")
    whatsapp_attempt_timeout: float = Field(default=30, gt=0, le=600, description="Seconds for one attempt.")

    whatsapp_rate_per_second: float = Field(
        default=0,
        ge=0,
        description="Most messages a second, of each worker process and account; 0: no limit.",
    )
    whatsapp_fallback_provider: Literal["cloud_api", "twilio"] = Field(
        default="cloud_api",
        description="What stands in while the first takes nothing; cloud_api: where a second account is set.",
    )
    whatsapp_fallback_api_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]+/?$",
        description="Graph API of the second account; None: the same.",
    )
    whatsapp_fallback_phone_number_id: str | None = Field(
        default=None, pattern=r"^\d{1,32}$", description="Second account, while the first takes nothing."
    )
    whatsapp_fallback_access_token: SecretStr | None = Field(default=None, description="Its token.")

    @model_validator(mode="after")
    def _can_send(self) -> Self:
        if self.whatsapp_provider != "cloud_api":
            return self
        for name in ("whatsapp_phone_number_id", "whatsapp_access_token"):
            if getattr(self, name) is None:
                raise ValueError(f"{variable(name)} is not set, and CARILLON_WHATSAPP_PROVIDER is cloud_api.")
        return self

    @model_validator(mode="after")
    def _twilio_can_send(self) -> Self:
        if "twilio" not in {self.whatsapp_provider, self.whatsapp_fallback_provider}:
            return self
        for name in ("account_sid", "auth_token", "sender"):
            if getattr(self, f"whatsapp_twilio_{name}") is None:
                raise ValueError(f"{variable(f'whatsapp_twilio_{name}')} is not set, and Twilio is chosen.")
        return self

    @model_validator(mode="after")
    def _second_account_is_whole(self) -> Self:
        parts = ("whatsapp_fallback_phone_number_id", "whatsapp_fallback_access_token")
        if len({getattr(self, name) is None for name in parts}) > 1:
            raise ValueError(f"{' and '.join(map(variable, parts))} go together.")
        return self
