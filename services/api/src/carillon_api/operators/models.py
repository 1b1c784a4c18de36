"""A dead letter as it is shown."""

from datetime import datetime
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason
from pydantic import BaseModel, Field

from carillon_api.deliveries.models import Attempt


class DeadLetter(BaseModel):
    """A delivery that will not be tried again without a person."""

    id: UUID = Field(description="The delivery's id.")
    event_id: UUID
    event_type: str
    subscriber: str
    channel: Channel
    reason: Reason
    provider: str | None
    code: str | None = Field(description="The provider's code for the last error.")
    error: str | None = Field(description="The last error.")
    attempt: int = Field(description="Attempts made.")
    dead_at: datetime
    age_seconds: float
    attempts: list[Attempt]
