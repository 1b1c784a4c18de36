"""When a webhook that failed is tried again."""

from collections.abc import Callable
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
DELAYS: Final = (
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
"""Seconds after each attempt: the schedule that Standard Webhooks recommends, some three days in all."""

_LONGEST: Final = 24 * _HOUR
_JITTER: Final = 0.1


def delay_after(
    attempt: int, *, retry_after: float | None, uniform: Callable[[float, float], float]
) -> float | None:
    """Return the seconds to the next attempt; None when `attempt` was the last.

    `retry_after` is what the endpoint asked for, in seconds; it only ever makes the wait longer.
    """
    if attempt > len(DELAYS):
        return None
    planned = DELAYS[attempt - 1] * uniform(1 - _JITTER, 1 + _JITTER)
    return max(planned, min(retry_after or 0.0, _LONGEST))
