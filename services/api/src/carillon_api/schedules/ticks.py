"""When a schedule's ticks are.

Cron expressions are those of Vixie cron with five fields, read by `cronsim`. When clocks change, a time that
does not exist comes right after the gap, and one that exists twice comes once, if hour and minute are fixed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

ON_TIME: Final = timedelta(seconds=60)
"""A tick that is no later than this was not missed."""

OnMissed = Literal["skip", "once"]
_FIELDS: Final = 5


@dataclass(frozen=True, slots=True)
class Due:
    """What to do about a schedule whose tick has come: fire this one (None: none), and wait for the next."""

    fire: datetime | None
    following: datetime | None


def check_cron(cron: str) -> str:
    """Return the expression. Raises ``ValueError`` when it is none, or none that ever comes."""
    if len(cron.split()) != _FIELDS:
        raise ValueError("must have five fields: minute, hour, day of month, month, day of week")
    try:
        first = next(iter(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))), None)
    except CronSimError as error:
        raise ValueError(f"is no cron expression: {error}") from error
    if first is None:
        raise ValueError("names a time that never comes")
    return cron


def ticks_after(cron: str, time_zone: str, moment: datetime) -> Iterator[datetime]:
    """Yield the ticks after a moment, in UTC."""
    local = moment.astimezone(ZoneInfo(time_zone))
    for tick in CronSim(cron, local):
        yield tick.astimezone(UTC)


def next_tick(cron: str, time_zone: str, moment: datetime, *, ends_at: datetime | None) -> datetime | None:
    """Return the first tick after a moment; None when there is none before the schedule ends."""
    tick = next(ticks_after(cron, time_zone, moment), None)
    return tick if tick is not None and (ends_at is None or tick <= ends_at) else None


def upcoming(
    cron: str, time_zone: str, moment: datetime, *, ends_at: datetime | None, most: int
) -> list[datetime]:
    """Return the next few ticks after a moment."""
    found = islice(ticks_after(cron, time_zone, moment), most)
    return [tick for tick in found if ends_at is None or tick <= ends_at]


def last_tick(cron: str, time_zone: str, moment: datetime) -> datetime:
    """Return the last tick at or before a moment."""
    local = (moment + timedelta(seconds=1)).astimezone(ZoneInfo(time_zone))
    return next(CronSim(cron, local, reverse=True)).astimezone(UTC)


def due(
    cron: str,
    time_zone: str,
    *,
    planned: datetime,
    now: datetime,
    ends_at: datetime | None,
    on_missed: OnMissed,
) -> Due:
    """Say what to do now about a tick that was planned for `planned`, and has come.

    Of several that have come, only the last is fired. One that is late is fired when `on_missed` is `once`.
    """
    latest = max(last_tick(cron, time_zone, now), planned)
    if ends_at is not None and latest > ends_at:
        latest = planned
    in_time = now - latest <= ON_TIME
    following = next_tick(cron, time_zone, max(now, latest), ends_at=ends_at)
    return Due(latest if in_time or on_missed == "once" else None, following)
