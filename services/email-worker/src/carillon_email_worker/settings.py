"""Everything the e-mail worker can be told from outside."""

from typing import Literal, Self

from carillon_shared.settings import ServiceSettings, variable
from email_validator import EmailNotValidError
from pydantic import Field, SecretStr, field_validator, model_validator

from carillon_email_worker.address import validate_address


class EmailSettings(ServiceSettings):
    """Settings of the e-mail worker."""

    metrics_port: int = Field(default=9466, ge=0, le=65535, description="Health and metrics; 0: any free.")
    email_provider: Literal["smtp", "resend", "sandbox"] = Field(
        default="smtp", description="smtp and resend send; sandbox only logs."
    )
    email_resend_url: str = Field(
        default="https://api.resend.com", pattern=r"^https?://[^\s/]+/?$", description="Resend's interface."
    )
    email_resend_api_key: SecretStr | None = Field(default=None, description="A key that may send.")
    email_smtp_host: str = Field(default="127.0.0.1", min_length=1, description="The SMTP server.")
    email_smtp_port: int = Field(default=1025, ge=1, le=65535, description="Its port.")
    email_smtp_username: str | None = Field(default=None, description="None: no authentication.")
    email_smtp_password: SecretStr | None = Field(default=None, description="Goes with the user name.")
    email_smtp_tls: Literal["none", "starttls", "tls"] = Field(
        default="none", description="starttls is port 587's way, tls port 465's."
    )
    email_smtp_connections: int = Field(default=10, ge=1, le=200, description="Connections kept open.")
    email_concurrency: int = Field(default=10, ge=1, le=1_000, description="Mails sent at the same time.")
    email_attempt_timeout: float = Field(default=30, gt=0, le=600, description="Seconds for one attempt.")
    email_rate_per_second: float = Field(
        default=0, ge=0, description="Most mails a second, of each worker process and server; 0: no limit."
    )
    email_fallback_provider: Literal["smtp", "resend"] = Field(
        default="smtp", description="What stands in while the first takes nothing; smtp: where a host is set."
    )
    email_fallback_smtp_host: str | None = Field(
        default=None, min_length=1, description="A second SMTP server, while the first takes nothing."
    )
    email_fallback_smtp_port: int = Field(default=25, ge=1, le=65535, description="Its port.")
    email_fallback_smtp_username: str | None = Field(default=None, description="None: no authentication.")
    email_fallback_smtp_password: SecretStr | None = Field(
        default=None, description="Goes with its user name."
    )
    email_fallback_smtp_tls: Literal["none", "starttls", "tls"] = Field(
        default="none", description="As for the first server."
    )
    email_sender_name: str = Field(default="Carillon", description="When the tenant has none.")
    email_sender_address: str = Field(
        default="no-reply@carillon.test", description="When the tenant has none."
    )
    email_message_id_domain: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9.-]+$", description="None: the sender address's domain."
    )

    email_bounce_address: str | None = Field(
        default=None,
        description="Where mail comes back, with the delivery's id after a plus sign; None: the sender.",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[!-~]+$",
        description="Where people reach the API; with it mails carry links to unsubscribe.",
    )
    unsubscribe_secret: SecretStr | None = Field(
        default=None, min_length=32, description="Signs those links; the API has the same."
    )

    @field_validator("email_sender_address", "email_bounce_address")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            validate_address(value)
        except EmailNotValidError as error:
            raise ValueError("it is no e-mail address") from error
        return value

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        for server in ("email_smtp", "email_fallback_smtp"):
            user, password = f"{server}_username", f"{server}_password"
            if (getattr(self, user) is None) != (getattr(self, password) is None):
                raise ValueError(f"{variable(user)} and {variable(password)} go together.")
        return self

    @model_validator(mode="after")
    def _resend_can_send(self) -> Self:
        if self.email_resend_api_key is not None:
            return self
        for name in ("email_provider", "email_fallback_provider"):
            if getattr(self, name) == "resend":
                raise ValueError(
                    f"{variable('email_resend_api_key')} is not set, and {variable(name)} is resend."
                )
        return self

    @model_validator(mode="after")
    def _links_are_whole(self) -> Self:
        if (self.public_url is None) != (self.unsubscribe_secret is None):
            raise ValueError(f"{variable('public_url')} and {variable('unsubscribe_secret')} go together.")
        return self

    @property
    def message_id_domain(self) -> str:
        """The right-hand side of every Message-ID."""
        return self.email_message_id_domain or validate_address(self.email_sender_address).ascii_domain
