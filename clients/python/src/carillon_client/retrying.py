"""When a request that failed is sent again, and after how long. Pure: clock and randomness are passed in."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from carillon_client.errors import CarillonError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential waits, jittered, within a budget.

    Sent again are requests that met no server, half an answer, a time limit, 429 or 503, and only where
    sending twice does no harm. What the service asks for in `Retry-After` is waited at least; beyond the
    budget it is not waited at all, and the error says how long it would be.
    """

    attempts: int = 6
    """How often a request is sent at most; 1 sends it once."""
    first_seconds: float = 0.2
    factor: float = 2.0
    longest_seconds: float = 10.0
    jitter: float = 0.5
    """The share of a wait that is random: 0.5 waits between a half and the whole."""
    budget_seconds: float = 30.0
    """No wait ends later than this after the first attempt began."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.jitter <= 1 or self.factor < 1:
            raise ValueError("attempts and factor are at least 1, jitter is between 0 and 1")

    def wait(self, failed: int, *, retry_after: float | None, draw: float) -> float:
        """Return the seconds to wait after so many failed attempts; `draw` is random, from 0 to below 1."""
        longest = min(self.longest_seconds, self.first_seconds * self.factor ** min(failed - 1, 60))
        spread = self.jitter * draw
        if retry_after is not None:  # never earlier than asked for, and not everybody at once
            return retry_after + longest * spread
        return longest * (1 - spread)


ONCE = RetryPolicy(attempts=1)
"""Sends everything once."""


@dataclass(slots=True)
class Attempts:
    """The attempts of one request."""

    policy: RetryPolicy
    repeatable: bool
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    failed: int = 0
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def pause_after(self, error: CarillonError) -> float | None:
        """Return the seconds to wait before the next attempt; None when this error is the end of it."""
        self.failed += 1
        if not error.transient or self.failed >= self.policy.attempts:
            return None
        if error.outcome_unknown and not self.repeatable:
            return None
        pause = self.policy.wait(self.failed, retry_after=error.retry_after, draw=self.draw())
        left = self.policy.budget_seconds - (self.clock() - self.began)
        return pause if pause <= left else None
