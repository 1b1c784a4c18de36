"""Everything the API can be told from outside."""

from carillon_shared.settings import ServiceSettings
from pydantic import Field, SecretStr


class ApiSettings(ServiceSettings):
    """Settings of the API, from `CARILLON_<NAME>`; secrets also from the file in `CARILLON_<NAME>_FILE`."""

    metrics_port: int = Field(default=9464, ge=0, le=65535, description="Health and metrics; 0: a free port.")
    api_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    api_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_token_secret: SecretStr = Field(
        min_length=32, description="Signs subscriber tokens (HS256); at least 32 characters."
    )
    api_key_pepper: SecretStr = Field(
        min_length=32, description="Keys the hashes of API key secrets; at least 32 characters."
    )
    api_whatsapp_app_secret: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="The Meta app's secret, which signs its webhooks; without it none is taken.",
    )
    api_whatsapp_verify_token: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="Given to Meta with the webhook's address, which it then asks for.",
    )
    api_bounce_secret: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="Signs the mails that come back, which a mail server hands in; without it none is taken.",
    )
    unsubscribe_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="Signs the links in mails; the e-mail worker has the same. Without it no link is valid.",
    )
    api_schedule_interval: float = Field(
        default=1.0, gt=0, le=30, description="Seconds between looks for schedules whose time has come."
    )
    api_database_connections: int = Field(default=10, ge=3, le=200, description="Most connections.")
    api_body_seconds: float = Field(
        default=30.0, ge=1.0, le=600.0, description="How long a request's body may take to arrive; then: 408."
    )
    api_keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=3_600,
        description="How long an idle connection stays open; longer than proxies and clients keep theirs.",
    )
    api_max_waiting_events: int = Field(
        default=20_000, ge=1_000, description="Events that may wait for their commit; beyond: 503."
    )
    api_streams: int = Field(default=15_000, ge=0, description="Streams one replica serves; beyond: 503.")
    api_streams_per_subscriber: int = Field(
        default=10, ge=1, description="Streams of one person on one replica; beyond: 429."
    )
    api_stream_life_seconds: float = Field(
        default=1_800, gt=0, description="After it, plus or minus a fifth, clients reconnect."
    )
    api_stream_compare_seconds: float = Field(
        default=30, gt=0, description="How often streams are compared with their feeds."
    )
    api_shutdown_seconds: int = Field(
        default=10, ge=1, le=300, description="Time that open requests get after SIGTERM."
    )

    @property
    def pepper(self) -> bytes:
        """The key of API key hashes, as bytes."""
        return self.api_key_pepper.get_secret_value().encode()
