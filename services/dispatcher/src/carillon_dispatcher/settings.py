"""Everything the dispatcher can be told from outside."""

from carillon_shared.settings import RetentionSettings, ServiceSettings
from pydantic import Field, field_validator

from carillon_dispatcher.webhooks.guard import networks


class DispatcherSettings(RetentionSettings, ServiceSettings):
    """Settings of the dispatcher, from `CARILLON_<NAME>`. Intervals and times are in seconds."""

    dispatcher_database_connections: int = Field(default=6, ge=3, le=100, description="Most at a time.")
    dispatcher_range_size: int = Field(
        default=5000,
        ge=1,
        le=100_000,
        description="Larger audiences are cut into ranges of so many.",
    )
    dispatcher_relay_interval: float = Field(
        default=0.7, gt=0, description="Between looks for events that are owed to the broker."
    )
    dispatcher_relay_batch: int = Field(default=1000, ge=1, le=10_000, description="Events relayed together.")
    dispatcher_outcome_interval: float = Field(
        default=0.5, gt=0, description="Between looks for outcomes that product services are to be told."
    )
    dispatcher_webhook_interval: float = Field(
        default=0.5, gt=0, description="Between looks for webhooks that are due."
    )
    dispatcher_webhook_seconds: float = Field(
        default=15.0, gt=0, le=60, description="An endpoint must answer within this time."
    )
    dispatcher_webhook_disable_days: float = Field(
        default=5.0, gt=0, description="An endpoint that has failed for so many days is disabled."
    )
    dispatcher_webhook_keep_days: int = Field(
        default=14, ge=1, description="Webhooks that were posted or have failed are kept for so many days."
    )
    dispatcher_webhook_allowed_networks: str = Field(
        default="",
        description="Networks that are not public and may be posted to, such as 10.0.0.0/8, 127.0.0.1.",
    )
    dispatcher_hold_interval: float = Field(
        default=1.0, gt=0, description="Between releases of what is held."
    )
    dispatcher_completion_interval: float = Field(
        default=2.0, gt=0, description="Between looks for events that are completed."
    )
    dispatcher_rescue_interval: float = Field(
        default=10.0, gt=0, description="Between looks for lost work, expired leases and expired events."
    )
    dispatcher_stalled_seconds: float = Field(
        default=30.0, gt=0, description="A fan-out that has stood still so long is sent again."
    )
    dispatcher_lost_margin: float = Field(
        default=120.0,
        gt=0,
        description="Older by so much than what its queue gives out: its message is lost.",
    )
    dispatcher_unknown_grace: float = Field(
        default=60.0, ge=0, description="Time for a late answer before an unknown outcome is acted on."
    )
    dispatcher_operation_interval: float = Field(
        default=0.5, gt=0, description="Between looks for replays and discards that operators asked for."
    )
    dispatcher_dead_queue_interval: float = Field(
        default=300.0, gt=0, description="Between looks through the dead queues for what is over."
    )
    dispatcher_measure_interval: float = Field(
        default=5.0, gt=0, description="Between measurements of the queues."
    )
    dispatcher_housekeeping_interval: float = Field(
        default=3600.0, gt=0, description="Between clearing away what is outdated."
    )
    dispatcher_duplicate_days: int = Field(
        default=7,
        ge=1,
        description="Days in which the same source and id again is a duplicate.",
    )

    @field_validator("dispatcher_webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        networks(text)
        return text
