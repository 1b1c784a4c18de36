"""Everything the WhatsApp worker can be told from outside."""

from typing import Literal, Self

from carillon_shared.settings import ServiceSettings, variable
from pydantic import Field, SecretStr, model_validator


class WhatsappSettings(ServiceSettings):
    """Settings of the WhatsApp worker."""

    metrics_port: int = Field(default=9467, ge=0, le=65535, description="Health and metrics; 0: any free.")
    whatsapp_provider: Literal["cloud_api", "sandbox"] = Field(
        default="cloud_api", description="cloud_api sends; sandbox only logs."
    )
    whatsapp_api_url: str = Field(
        default="https://graph.facebook.com", pattern=r"^https?://[^\s/]+/?$", description="Meta's Graph API."
    )
    whatsapp_api_version: str = Field(default="v23.0", pattern=r"^v\d{1,2}\.\d$", description="Its version.")
    whatsapp_phone_number_id: str | None = Field(
        default=None, pattern=r"^\d{1,32}$", description="The id of the sending number, not the number."
    )
    whatsapp_access_token: SecretStr | None = Field(default=None, description="A system user's token.")
    whatsapp_connections: int = Field(default=10, ge=1, le=200, description="Connections kept open.")
    whatsapp_concurrency: int = Field(default=20, ge=1, le=1_000, description="Messages sent at once.")
    whatsapp_attempt_timeout: float = Field(default=30, gt=0, le=600, description="Seconds for one attempt.")

    @model_validator(mode="after")
    def _can_send(self) -> Self:
        if self.whatsapp_provider == "sandbox":
            return self
        for name in ("whatsapp_phone_number_id", "whatsapp_access_token"):
            if getattr(self, name) is None:
                raise ValueError(f"{variable(name)} is not set, and CARILLON_WHATSAPP_PROVIDER is cloud_api.")
        return self
