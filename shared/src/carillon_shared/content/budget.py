"""How much one rendering may cost. Counted in units of work, with processor time as the second fence."""

import time

from carillon_shared.content.errors import ContentError

MAX_UNITS = 250_000
"""Units for one delivery: a loop costs its items times its size, a filter one plus a share of its text."""

MAX_SECONDS = 0.25
"""Processor time of this thread for one delivery. Not wall time: a busy machine must not kill a delivery."""

_UNITS_BETWEEN_CHECKS = 5_000


class Budget:
    """Counts down while a template renders, and ends the rendering at nought."""

    __slots__ = ("_check_at", "_deadline", "_units")

    def __init__(self, units: int = MAX_UNITS, seconds: float = MAX_SECONDS) -> None:
        self._units = units
        self._check_at = units - _UNITS_BETWEEN_CHECKS
        self._deadline = time.thread_time() + seconds

    def spend(self, units: int) -> None:
        """Take units away. Raises `ContentError` when none are left or the time is over."""
        self._units -= units
        if self._units < self._check_at:
            self._check()

    def _check(self) -> None:
        if self._units < 0 or time.thread_time() > self._deadline:
            raise ContentError("takes too long to render: shorten its loops or the event's lists")
        self._check_at = self._units - _UNITS_BETWEEN_CHECKS
