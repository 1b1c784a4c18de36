import pytest
from carillon_shared.domain.durations import MAX_SECONDS, format_duration, parse_duration
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2),
        ("1m", 60),
        ("1.5h", 5400),
        ("3d", 259_200),
        ("1w", 604_800),
        (7, 7),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "s", "2 s", "-1s", "1e3s", "2S", "2s3m", "11y", True, None, "9999999d"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, int(MAX_SECONDS * 1000)))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.5, "500ms"), (60, "1m"), (90, "90s"), (86_400, "1d")]
)
def test_the_largest_whole_unit_is_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
