"""Lengths of time as people write them: "500ms", "2s", "1m", "1h", "3d"."""

import re
from decimal import Decimal

_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3_600),
    "d": Decimal(86_400),
    "w": Decimal(604_800),
}
_WRITTEN = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d|w)")
MAX_SECONDS = 10 * 366 * 86_400.0
"""Ten years; a longer time is a mistake."""


def parse_duration(value: str | float) -> float:
    """Return seconds. A number is seconds already; text is one number and its unit, "1.5h".

    Raises ``ValueError`` for anything else, for less than zero and for more than ten years.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(_expected())  # noqa: TRY004 - pydantic turns a ValueError into the field's problem
    seconds = _written(value) if isinstance(value, str) else float(value)
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("a duration is between 0 and ten years")
    return seconds


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads back: 60 is "1m", 1.5 is "1500ms"."""
    exact = Decimal(str(seconds))
    for unit in ("w", "d", "h", "m", "s", "ms"):
        number = exact / _UNITS[unit]
        if number == number.to_integral_value() and (number or unit == "s"):
            return f"{int(number)}{unit}"
    return f"{exact.normalize():f}s"


def _written(text: str) -> float:
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise ValueError(_expected())
    return float(Decimal(match[1]) * _UNITS[match[2]])


def _expected() -> str:
    return 'write a duration as "500ms", "2s", "1m", "1h", "3d" or a number of seconds'
