"""Schedules as they are written and shown."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StrictBool

from carillon_api.intake.timestamps import Timestamp
from carillon_api.schedules.ticks import OnMissed, check_cron
from carillon_api.subscribers.models import TimeZone
from carillon_api.written import Written

_OF_THE_TICK = ("id", "source", "time", "deliver_at")
_OF_ONE_TICK = "expires_at"


def _check_template(event: dict[str, Any]) -> dict[str, Any]:
    given = [name for name in _OF_THE_TICK if name in event]
    if given:
        raise ValueError(f"must not have {' or '.join(given)}: each tick has its own")
    if _OF_ONE_TICK in event:
        raise ValueError(f"must not have {_OF_ONE_TICK}: its type's `expires_after` counts from each tick")
    return event


Cron = Annotated[str, Field(max_length=200), AfterValidator(check_cron)]
Template = Annotated[
    dict[str, Any],
    AfterValidator(_check_template),
    Field(
        description="The event, as for `POST /v1/events`, without `id`, `source`, `time`, `deliver_at` and "
        "`expires_at`."
    ),
]
Name = Annotated[str, Field(max_length=200)]


class NewSchedule(Written):
    """An event that is to come again and again."""

    name: Name = ""
    cron: Cron = Field(description="Five fields: minute, hour, day of month, month, day of week.")
    time_zone: TimeZone = Field(default="UTC", description="Whose wall clock `cron` means.")
    event: Template
    on_missed: OnMissed = Field(
        default="skip",
        description="When no tick could be fired for over a minute: nothing, or the last one missed.",
    )
    ends_at: Timestamp | None = None
    paused: StrictBool = False


class ScheduleChange(Written):
    """What to change; what is left out stays."""

    name: Name | None = None
    cron: Cron | None = None
    time_zone: TimeZone | None = None
    event: Template | None = None
    on_missed: OnMissed | None = None
    ends_at: Timestamp | None = None
    paused: StrictBool | None = None


class Schedule(BaseModel):
    """An event that comes again and again."""

    id: UUID
    name: str
    cron: str
    time_zone: str
    event: dict[str, Any]
    on_missed: OnMissed
    ends_at: datetime | None
    paused: bool
    next_at: datetime | None = Field(description="None while it is paused, and after its end.")
    upcoming: list[datetime] = Field(description="The next few ticks.")
    last_at: datetime | None = Field(description="The tick that was fired last.")
    last_event_id: UUID | None
    last_error: str | None = Field(description="Why the last tick came to no event.")
    created_at: datetime
    updated_at: datetime
