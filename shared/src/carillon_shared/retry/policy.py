"""Retry policies: bounded, jittered, capped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from carillon_shared.domain.channels import Channel

Uniform = Callable[[float, float], float]
"""Draws a number between two bounds, as `random.uniform` does."""


class Strategy(StrEnum):
    """How delays grow."""

    EXPONENTIAL = "exponential"  # initial * factor ** n
    LINEAR = "linear"  # initial + step * n
    FIXED = "fixed"  # initial
    SCHEDULE = "schedule"  # delays[n], the last one repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how far apart deliveries are tried. All times in seconds.

    `max_attempts` counts the first attempt too. `max_elapsed` bounds the time since the first attempt.
    `jitter` is the share of a delay by which it may be longer or shorter.
    """

    strategy: Strategy = Strategy.EXPONENTIAL
    initial: float = 2.0
    factor: float = 2.0
    step: float = 0.0
    delays: tuple[float, ...] = ()
    max_delay: float = 3600.0
    max_attempts: int = 5
    max_elapsed: float | None = None
    jitter: float = 0.1

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a policy that means nothing."""
        if self.max_attempts < 1 or self.initial < 0 or self.max_delay < 0 or not 0 <= self.jitter < 1:
            raise ValueError("a retry policy needs max_attempts >= 1, times >= 0 and 0 <= jitter < 1")
        if self.strategy is Strategy.SCHEDULE and not self.delays:
            raise ValueError("a schedule needs delays")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "RetryPolicy":
        """Read a stored policy. Unknown names are ignored, so that an older worker reads a newer policy."""
        known = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        if "strategy" in known:
            known["strategy"] = Strategy(known["strategy"])
        if "delays" in known:
            known["delays"] = tuple(known["delays"])
        return cls(**known)

    def delay_after(self, attempts: int, *, uniform: Uniform) -> float | None:
        """Return the seconds to wait after so many attempts, or None when there is no further one."""
        return None if attempts >= self.max_attempts else self.delay(attempts, uniform=uniform)

    def delay(self, attempts: int, *, uniform: Uniform) -> float:
        """Return the seconds to wait after so many attempts, whether or not there may be another."""
        delay = min(self._base(max(attempts, 1) - 1), self.max_delay)
        return min(delay * (1 + uniform(-self.jitter, self.jitter)), self.max_delay)

    def _base(self, n: int) -> float:
        match self.strategy:
            case Strategy.EXPONENTIAL:
                return self._exponential(n)
            case Strategy.LINEAR:
                return self.initial + self.step * n
            case Strategy.FIXED:
                return self.initial
            case Strategy.SCHEDULE:
                return self.delays[min(n, len(self.delays) - 1)]

    def _exponential(self, n: int) -> float:
        try:
            return float(self.initial * self.factor**n)
        except OverflowError:  # the cap was reached long before
            return self.max_delay


DEFAULT_POLICIES: Mapping[Channel, RetryPolicy] = {
    Channel.EMAIL: RetryPolicy(initial=2, factor=2, max_attempts=5),  # 2 4 8 16 s
    Channel.WHATSAPP: RetryPolicy(initial=1, factor=2, max_attempts=4),  # 1 2 4 s
    Channel.INAPP: RetryPolicy(strategy=Strategy.SCHEDULE, delays=(10, 60), max_attempts=3),
}
"""What applies when the event type says nothing."""


def policy_for(retry: Mapping[str, Any], channel: Channel) -> RetryPolicy:
    """Return the event type's policy for a channel, or the channel's default."""
    document = retry.get(channel.value)
    return RetryPolicy.from_json(document) if document else DEFAULT_POLICIES[channel]
