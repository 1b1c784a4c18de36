"""A circuit breaker: keeps work from a provider that fails for everybody, and finds out when it is back.

Pure: the time is passed in. Source of the pattern: M. Nygard, "Release It!" (2nd ed., 2018), chapter 5.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Uniform = Callable[[float, float], float]


class BreakerState(StrEnum):
    """What a breaker lets through: everything, nothing, or a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens, and for how long. All times in seconds.

    It opens after `in_a_row` failures without a success between them, or when of at least `least_calls` calls
    in the last `window` seconds at least the share `failure_rate` failed. The first opening lasts
    `first_open`; each that follows a failed probe lasts twice as long, up to `longest_open`, give or take the
    share `jitter`. `probes` calls may be under way while it is half-open, and as many must succeed.
    """

    in_a_row: int = 10
    failure_rate: float = 0.5
    least_calls: int = 20
    window: float = 30.0
    first_open: float = 5.0
    longest_open: float = 60.0
    jitter: float = 0.2
    probes: int = 3


class CircuitBreaker:
    """The breaker of one provider.

    A call carries the `epoch` in which it was allowed. What it ends in counts only in that epoch: the answer
    to a call from before the opening says nothing about whether the provider is back.
    """

    def __init__(self, policy: BreakerPolicy | None = None, *, uniform: Uniform = random.uniform) -> None:
        self._policy = policy or BreakerPolicy()
        self._uniform = uniform
        self.epoch = 0
        self._state = BreakerState.CLOSED
        self._openings = 0  # without a success since
        self._open_until = 0.0
        self._probing = 0
        self._probed = 0
        self._failed_in_a_row = 0
        self._recent = _Window(self._policy.window)

    def state(self, now: float) -> BreakerState:
        """Return the state; an opening that is over becomes half-open here."""
        if self._state is BreakerState.OPEN and now >= self._open_until:
            self._enter(BreakerState.HALF_OPEN)
        return self._state

    @property
    def open_until(self) -> float:
        """When the opening ends, or ended."""
        return self._open_until

    def room(self, now: float, wanted: int) -> int:
        """Return how many of `wanted` calls may begin now."""
        match self.state(now):
            case BreakerState.CLOSED:
                return wanted
            case BreakerState.OPEN:
                return 0
            case BreakerState.HALF_OPEN:
                return min(wanted, self._policy.probes - self._probing - self._probed)

    def begin(self, many: int) -> None:
        """Note that so many calls were allowed, as far as `room` said."""
        if self._state is BreakerState.HALF_OPEN:
            self._probing += many

    def give_back(self, epoch: int, many: int) -> None:
        """Note that so many allowed calls are not made."""
        if epoch == self.epoch and self._state is BreakerState.HALF_OPEN:
            self._probing -= many

    def succeeded(self, epoch: int, now: float) -> None:
        """Note an answer that shows the provider at work, also one that refuses this delivery."""
        if epoch != self.epoch:
            return
        self._failed_in_a_row = 0
        self._recent.add(now, failed=False)
        if self._state is BreakerState.HALF_OPEN:
            self._probing -= 1
            self._probed += 1
            if self._probed >= self._policy.probes:
                self._openings = 0
                self._enter(BreakerState.CLOSED)

    def failed(self, epoch: int, now: float) -> None:
        """Note a failure that is the provider's, for everybody."""
        if epoch != self.epoch:
            return
        self._failed_in_a_row += 1
        self._recent.add(now, failed=True)
        if self._state is BreakerState.HALF_OPEN or self._is_too_much():
            self._open(now)

    def open_for(self, seconds: float, now: float) -> None:
        """Open for as long as the provider itself asked for (`Retry-After`); probes follow as ever.

        A longer opening that lasts already stays as it is.
        """
        self._open_until = max(self._open_until, now + seconds)
        if self._state is not BreakerState.OPEN:
            self._enter(BreakerState.OPEN)

    def _is_too_much(self) -> bool:
        policy, (calls, failures) = self._policy, self._recent.counts()
        many = calls >= policy.least_calls and failures >= calls * policy.failure_rate
        return many or self._failed_in_a_row >= policy.in_a_row

    def _open(self, now: float) -> None:
        policy = self._policy
        seconds = min(policy.first_open * 2.0**self._openings, policy.longest_open)
        self._openings = min(self._openings + 1, 32)
        self._open_until = now + seconds * (1 + self._uniform(-policy.jitter, policy.jitter))
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self.epoch += 1
        self._probing = self._probed = self._failed_in_a_row = 0
        self._recent.clear()


class _Window:
    """Counts calls and failures of the last `seconds`, in two halves: exact enough, and nothing to prune."""

    def __init__(self, seconds: float) -> None:
        self._half = seconds / 2
        self._ends = 0.0
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._calls = self._failures = 0
        self._older = (0, 0)

    def add(self, now: float, *, failed: bool) -> None:
        """Count one."""
        if now >= self._ends:
            self._turn(now)
        self._calls += 1
        self._failures += failed

    def counts(self) -> tuple[int, int]:
        """Return calls and failures."""
        return self._calls + self._older[0], self._failures + self._older[1]

    def _turn(self, now: float) -> None:
        fresh = now < self._ends + self._half
        self._older = (self._calls, self._failures) if fresh else (0, 0)
        self._calls = self._failures = 0
        self._ends = now + self._half
