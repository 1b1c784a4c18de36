"""Quiet hours: when a person is not to be disturbed, by the clock on their own wall."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from carillon_api.subscribers.models import Preferences, TimeZone, Topic
from carillon_api.written import Written, WrittenPart

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK_MINUTES = 7 * 24 * 60
MAX_MUTED = 500

_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
ClockTime = Annotated[str, StringConstraints(pattern=_CLOCK)]
EndTime = Annotated[str, StringConstraints(pattern=rf"{_CLOCK}|^24:00$")]


class QuietWindow(WrittenPart):
    """From one minute to another; one that ends before it begins ends on the day after."""

    start: Annotated[ClockTime, Field(alias="from", examples=["22:00"])]
    end: Annotated[EndTime, Field(alias="to", examples=["07:00"])]
    days: Annotated[list[Day], Field(min_length=1, max_length=7, description="On which it begins.")] = Field(
        default_factory=lambda: list(DAYS)
    )

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.start == self.end:
            raise ValueError("begins when it ends; write a whole day as 00:00 to 24:00")
        return self

    def minutes(self) -> set[int]:
        """Return the minutes of the week that it covers; 0 is Monday 00:00."""
        first, last = _minute(self.start), _minute(self.end)
        length = last - first if last > first else last - first + 24 * 60
        starts = [DAYS.index(day) * 24 * 60 + first for day in self.days]
        return {(start + n) % WEEK_MINUTES for start in starts for n in range(length)}


class QuietHours(Written):
    """What is not urgent waits until they end. The feed is never silent."""

    windows: Annotated[list[QuietWindow], Field(min_length=1, max_length=28)]
    time_zone: TimeZone | None = Field(
        default=None, description="IANA name; left out: the person's own, or the tenant's."
    )

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if len(set[int]().union(*(window.minutes() for window in self.windows))) == WEEK_MINUTES:
            raise ValueError(
                "cover the whole week, so nothing could ever be sent; switch channels off instead"
            )
        return self


class OwnPreferences(Preferences):
    """What a person wants, and when not. Quiet hours and mutes left out stay as they are; null ends them."""

    quiet_hours: QuietHours | None = None
    muted: Annotated[list[Topic], Field(max_length=MAX_MUTED)] | None = Field(
        default=None,
        description="Nothing about these topics, nor what lies in them, is sent, unless it is mandatory.",
        examples=[["ticket:42"]],
    )


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
