"""Quiet hours once more, the slowest way: go on by minutes until the wall clock shows one that is free."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = list(DAYS)
_MINUTE = timedelta(minutes=1)


def window(start: str, end: str, days: Sequence[str] = DAYS) -> dict[str, Any]:
    """Return one window as the preferences document has it."""
    return {"from": start, "to": end, "days": list(days)}


def quiet_until(windows: Sequence[Mapping[str, Any]], zone: str, moment: datetime) -> datetime | None:
    """Return the first moment from this one on that is not quiet; None when this one is not."""
    if not is_quiet(windows, zone, moment):
        return None
    passing = moment.astimezone(UTC).replace(second=0, microsecond=0)
    while is_quiet(windows, zone, passing):
        passing += _MINUTE
    return passing


def is_quiet(windows: Sequence[Mapping[str, Any]], zone: str, moment: datetime) -> bool:
    """Tell whether the wall clock shows a minute of one of these windows."""
    wall = moment.astimezone(ZoneInfo(zone))
    minute = wall.hour * 60 + wall.minute
    return any(_covers(one, DAYS[wall.weekday()], minute) for one in windows)


def _covers(one: Mapping[str, Any], today: str, minute: int) -> bool:
    start, end = _minute(one["from"]), _minute(one["to"])
    yesterday = DAYS[DAYS.index(today) - 1]
    if start < end:
        return today in one["days"] and start <= minute < end
    return (today in one["days"] and minute >= start) or (yesterday in one["days"] and minute < end)


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])
