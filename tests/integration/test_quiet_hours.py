"""When quiet hours end, on a real PostgreSQL: by the wall clock of the person, whatever that clock does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from carillon_shared.db.pool import Pool
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.migrated import MigratedDatabase
from support.quiet_oracle import DAYS, quiet_until, window

_UNTIL = "SELECT carillon.quiet_until(carillon.quiet_minutes($1), $2, $3)"
_NIGHT = [window("22:00", "07:00")]


@pytest.fixture
async def pool(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    made = await migrated.pool("carillon_dispatcher")
    yield made
    await made.close()


async def _until(pool: Pool, windows: list[dict[str, Any]], zone: str, moment: str) -> str | None:
    answer = await pool.fetchval(_UNTIL, {"windows": windows}, zone, datetime.fromisoformat(moment))
    return answer.astimezone(UTC).strftime("%a %H:%M") if answer else None


@pytest.mark.parametrize(
    ("windows", "zone", "moment", "expected"),
    [
        pytest.param(_NIGHT, "UTC", "2026-11-18T21:59:59Z", None, id="before it begins"),
        pytest.param(_NIGHT, "UTC", "2026-11-18T22:00:00Z", "Thu 07:00", id="the first minute belongs to it"),
        pytest.param(_NIGHT, "UTC", "2026-11-19T06:59:59Z", "Thu 07:00", id="after midnight"),
        pytest.param(_NIGHT, "UTC", "2026-11-19T07:00:00Z", None, id="the last minute does not"),
        pytest.param(_NIGHT, "UTC", "2026-11-22T23:00:00Z", "Mon 07:00", id="from one week into the next"),
        pytest.param(_NIGHT, "Asia/Ulaanbaatar", "2026-11-18T14:00:00Z", "Wed 23:00", id="eight hours ahead"),
        pytest.param(
            _NIGHT, "Asia/Kolkata", "2026-11-18T16:30:00Z", "Thu 01:30", id="half an hour beside the others"
        ),
        pytest.param(
            _NIGHT, "Asia/Kathmandu", "2026-11-18T16:14:00Z", None, id="three quarters beside the others"
        ),
        pytest.param(
            [window("22:00", "07:00", ["fri"])],
            "UTC",
            "2026-11-21T06:00:00Z",
            "Sat 07:00",
            id="the day it began counts",
        ),
        pytest.param(
            [window("22:00", "07:00", ["fri"])], "UTC", "2026-11-21T23:00:00Z", None, id="not on that day"
        ),
        pytest.param(
            [window("20:00", "24:00"), window("00:00", "06:00")],
            "UTC",
            "2026-11-18T20:30:00Z",
            "Thu 06:00",
            id="windows that touch are one",
        ),
        pytest.param(
            [window("00:00", "24:00", ["sat", "sun"]), *_NIGHT],
            "UTC",
            "2026-11-20T22:30:00Z",
            "Mon 07:00",
            id="over a whole weekend",
        ),
        # Europe/Berlin, 29 March 2026: 02:00 is 03:00. The window is an hour shorter.
        pytest.param(
            _NIGHT, "Europe/Berlin", "2026-03-28T22:00:00Z", "Sun 05:00", id="the clock goes forward"
        ),
        pytest.param(
            [window("01:00", "02:30")],
            "Europe/Berlin",
            "2026-03-29T00:30:00Z",
            "Sun 01:00",
            id="ends in the skipped hour",
        ),
        pytest.param(
            [window("02:10", "03:15")],
            "Europe/Berlin",
            "2026-03-29T01:00:00Z",
            "Sun 01:15",
            id="begins in the skipped hour",
        ),
        # 25 October 2026: 03:00 is 02:00 once more. The window is an hour longer.
        pytest.param(_NIGHT, "Europe/Berlin", "2026-10-24T22:00:00Z", "Sun 06:00", id="the clock goes back"),
        pytest.param(
            [window("01:00", "02:30")],
            "Europe/Berlin",
            "2026-10-24T23:30:00Z",
            "Sun 00:30",
            id="ends when 02:30 comes first",
        ),
        pytest.param(
            [window("01:00", "02:30")],
            "Europe/Berlin",
            "2026-10-25T01:10:00Z",
            "Sun 01:30",
            id="and when it comes again",
        ),
        # Lord Howe Island moves by half an hour: on 5 April 2026 02:00 is 01:30 once more.
        pytest.param(
            [window("01:00", "01:45")],
            "Australia/Lord_Howe",
            "2026-04-04T14:05:00Z",
            "Sat 14:45",
            id="goes back by half an hour",
        ),
        pytest.param(
            _NIGHT, "Mars/Olympus", "2026-11-18T23:00:00Z", "Thu 07:00", id="an unknown zone is UTC"
        ),
    ],
)
async def test_quiet_hours_end_by_the_wall_clock(
    pool: Pool, windows: list[dict[str, Any]], zone: str, moment: str, expected: str | None
) -> None:
    assert await _until(pool, windows, zone, moment) == expected


_clocks = st.builds(lambda n: f"{n // 60:02}:{n % 60:02}", st.integers(0, 24 * 60 - 1))
_windows = st.builds(
    window, _clocks, _clocks, st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True)
).filter(lambda one: one["from"] != one["to"])
# Both changes of these zones in 2026 and the nights around them, besides any other moment.
_changes = [
    datetime(2026, *day, tzinfo=UTC)
    for day in [(3, 8), (3, 29), (4, 4), (4, 5), (10, 3), (10, 4), (10, 25), (11, 1), (11, 22)]
]
_moments = st.builds(
    lambda day, seconds: day + timedelta(seconds=seconds),
    st.sampled_from(_changes),
    st.integers(-86_400, 172_800),
)
_zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns",
     "Asia/Ulaanbaatar", "Europe/Dublin", "Pacific/Chatham"]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(windows=st.lists(_windows, min_size=1, max_size=3), zone=_zones, moment=_moments)
@example(
    windows=[window("01:00", "02:30")],
    zone="Europe/Berlin",
    moment=datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
)
async def test_the_database_ends_quiet_hours_as_the_oracle_does(
    pool: Pool, windows: list[dict[str, Any]], zone: str, moment: datetime
) -> None:
    assert await pool.fetchval(_UNTIL, {"windows": windows}, zone, moment) == quiet_until(
        windows, zone, moment
    )
