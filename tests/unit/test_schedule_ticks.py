"""When ticks are: time zones, changes of clocks, ticks that were missed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from carillon_api.schedules.ticks import Due, check_cron, due, last_tick, next_tick, ticks_after, upcoming
from hypothesis import given
from hypothesis import strategies as st


def _local(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_tick_is_meant_by_the_wall_clock_of_its_zone() -> None:
    ticks = upcoming("0 9 * * MON-FRI", "Asia/Ulaanbaatar", _utc("2026-11-20T00:00"), ends_at=None, most=3)
    assert ticks == [_utc("2026-11-20T01:00"), _utc("2026-11-23T01:00"), _utc("2026-11-24T01:00")]


def test_a_zone_with_a_half_hour_is_kept() -> None:
    assert next_tick("0 9 * * *", "Asia/Kathmandu", _utc("2026-11-20T00:00"), ends_at=None) == _utc(
        "2026-11-20T03:15"
    )


def test_a_time_that_does_not_exist_comes_right_after_the_gap_and_once() -> None:
    # On 29 March 2026 clocks go from 02:00 to 03:00.
    ticks = upcoming("30 2 * * *", "Europe/Berlin", _local("2026-03-28T12:00"), ends_at=None, most=2)
    assert ticks == [_local("2026-03-29T03:00"), _local("2026-03-30T02:30")]


def test_a_time_that_exists_twice_comes_once() -> None:
    # On 25 October 2026 clocks go from 03:00 back to 02:00.
    ticks = upcoming("30 2 * * *", "Europe/Berlin", _local("2026-10-24T12:00"), ends_at=None, most=2)
    assert ticks == [_utc("2026-10-25T00:30"), _utc("2026-10-26T01:30")]


def test_every_half_hour_goes_on_through_both_changes() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        start = _utc(f"{day}T00:00")
        ticks = upcoming("*/30 * * * *", "Europe/Berlin", start, ends_at=None, most=6)
        gaps = {later - earlier for earlier, later in pairwise(ticks)}
        assert gaps == {timedelta(minutes=30)}


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sampled_from(["0 * * * *", "*/7 3-5 * * *", "30 2 * * *", "0 0 1 * *", "15 4 * * 1"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_ticks_rise_and_lie_after_the_moment(moment: datetime, cron: str, zone: str) -> None:
    now = moment.replace(tzinfo=UTC)
    ticks = ticks_after(cron, zone, now)
    first, second = next(ticks), next(ticks)
    assert now < first < second
    assert last_tick(cron, zone, now) <= now
    assert last_tick(cron, zone, first) == first


def _due(planned: str, now: str, *, on_missed: str = "skip", ends_at: datetime | None = None) -> Due:
    return due(
        "0 * * * *",
        "UTC",
        planned=_utc(planned),
        now=_utc(now),
        ends_at=ends_at,
        on_missed="once" if on_missed == "once" else "skip",
    )


def test_a_tick_in_time_is_fired() -> None:
    assert _due("2026-11-20T10:00", "2026-11-20T10:00:30") == Due(
        _utc("2026-11-20T10:00"), _utc("2026-11-20T11:00")
    )


def test_missed_ticks_are_skipped() -> None:
    assert _due("2026-11-20T10:00", "2026-11-20T14:20") == Due(None, _utc("2026-11-20T15:00"))


def test_or_the_last_of_them_is_made_up_for_once() -> None:
    assert _due("2026-11-20T10:00", "2026-11-20T14:20", on_missed="once") == Due(
        _utc("2026-11-20T14:00"), _utc("2026-11-20T15:00")
    )


def test_after_an_outage_the_tick_of_this_minute_was_not_missed() -> None:
    assert _due("2026-11-20T10:00", "2026-11-20T14:00:10").fire == _utc("2026-11-20T14:00")


def test_nothing_comes_after_the_end() -> None:
    end = _utc("2026-11-20T10:30")
    assert _due("2026-11-20T10:00", "2026-11-20T10:00:01", ends_at=end) == Due(_utc("2026-11-20T10:00"), None)
    assert next_tick("0 * * * *", "UTC", end, ends_at=end) is None


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@daily", "a b c d e", "*/0 * * * *"]
)
def test_what_is_no_expression_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match=r"field|expression|never"):
        check_cron(cron)


def test_leap_days_come() -> None:
    assert check_cron("0 0 29 2 *") == "0 0 29 2 *"
    assert next_tick("0 0 29 2 *", "UTC", _utc("2026-01-01T00:00"), ends_at=None) == _utc("2028-02-29T00:00")
