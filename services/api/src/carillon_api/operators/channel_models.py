"""What the routes of channels and queues take and give."""

from datetime import datetime
from typing import Annotated

from carillon_shared.domain.channels import Channel
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Why = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$")
]


class PauseCommand(BaseModel):
    """Why a channel is paused or resumed; it is written down."""

    model_config = ConfigDict(extra="forbid")

    reason: Why


class ChannelControl(BaseModel):
    """Whether a channel is paused, since when, by whom and why."""

    channel: Channel
    paused: bool
    paused_at: datetime | None = None
    paused_by: str | None = None
    reason: str | None = None


class QueueState(BaseModel):
    """A queue as a dispatcher last measured it."""

    queue: str
    channel: Channel | None = Field(description="Null: not the work of one channel.")
    ready: int = Field(description="Messages that wait in it.")
    consumers: int
    oldest_age_seconds: float = Field(description="What its oldest message can have waited at most.")
    paused: bool = Field(description="Operators have paused its channel.")
    measured_at: datetime


class Queues(BaseModel):
    """All queues and channels of the platform."""

    queues: list[QueueState]
    channels: list[ChannelControl]
