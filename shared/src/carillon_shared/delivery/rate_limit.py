"""A token bucket: so many calls a second, evenly. Pure: the time is passed in."""

from math import ceil

_BURST_SECONDS = 0.1


class TokenBucket:
    """Gives out `rate` tokens a second; those of a tenth of a second are kept, and at least one.

    Raises ``ValueError`` for a rate that is not positive.
    """

    def __init__(self, rate: float) -> None:
        if rate <= 0:
            raise ValueError("a rate must be positive: no bucket means no limit")
        self._rate = rate
        self._most = max(1.0, rate * _BURST_SECONDS)
        self._tokens = self._most
        self._filled_at: float | None = None

    def room(self, now: float, wanted: int) -> int:
        """Return how many of `wanted` tokens are there now."""
        self._fill(now)
        return min(wanted, int(self._tokens))

    def take(self, many: int) -> None:
        """Take tokens, as far as `room` said."""
        self._tokens -= many

    def give_back(self, many: int) -> None:
        """Return tokens that were not used."""
        self._tokens = min(self._tokens + many, self._most)

    def ready_at(self, now: float) -> float:
        """Return when the next token is there."""
        self._fill(now)
        missing = 1 - self._tokens
        # A millisecond more than needed: a fraction too early would be an empty look.
        return now if missing <= 0 else now + ceil(missing / self._rate * 1000 + 1) / 1000

    def _fill(self, now: float) -> None:
        if self._filled_at is not None:
            self._tokens = min(self._tokens + (now - self._filled_at) * self._rate, self._most)
        self._filled_at = now
