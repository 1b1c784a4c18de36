"""A provider and what protects it: its circuit breaker and its rate limit."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from carillon_shared.clock import Clock
from carillon_shared.delivery.breaker import BreakerState, CircuitBreaker
from carillon_shared.delivery.provider import Provider
from carillon_shared.delivery.rate_limit import TokenBucket
from carillon_shared.delivery.throttling import is_throttling
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.outcomes import Outcome, Retry, Unknown
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)

MessageT = TypeVar("MessageT")

_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Permit(Generic[MessageT]):
    """The right to one call of a provider, given in an epoch of its breaker."""

    guard: "Guard[MessageT]"
    epoch: int


class Guard(Generic[MessageT]):
    """Lets as many calls to a provider begin as its breaker and its rate limit allow."""

    def __init__(
        self,
        provider: Provider[MessageT],
        *,
        channel: Channel,
        breaker: CircuitBreaker,
        bucket: TokenBucket | None,
        clock: Clock,
    ) -> None:
        self.provider = provider
        self._channel = channel
        self._breaker = breaker
        self._bucket = bucket
        self._now = clock.monotonic
        self._shown: BreakerState | None = None
        self._permit = Permit(self, breaker.epoch)
        self._seconds = metrics.PROVIDER_SECONDS.labels(channel, provider.name)
        for metric in (metrics.PROVIDER_FAILURES, metrics.PROVIDER_THROTTLED):
            metrics.start_at_zero(metric, channel=(channel,), provider=(provider.name,))
        self._show("it begins")

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.provider.name

    def timed(self) -> AbstractContextManager[object]:
        """Measure the call that is made within."""
        return self._seconds.time()

    def room(self, wanted: int) -> int:
        """Return how many of `wanted` calls may begin now."""
        now = self._now()
        room = self._breaker.room(now, wanted)
        self._show("its time is over")
        return self._bucket.room(now, room) if self._bucket and room else room

    def reserve(self, wanted: int) -> list[Permit[MessageT]]:
        """Take as many permits of `wanted` as there are now."""
        many = self.room(wanted)
        if many <= 0:
            return []
        self._breaker.begin(many)
        if self._bucket:
            self._bucket.take(many)
        if self._permit.epoch != self._breaker.epoch:
            self._permit = Permit(self, self._breaker.epoch)
        return [self._permit] * many

    def give_back(self, permit: Permit[MessageT]) -> None:
        """Take back a permit that was not used."""
        self._breaker.give_back(permit.epoch, 1)
        if self._bucket:
            self._bucket.give_back(1)

    def ready_at(self) -> float:
        """Return the monotonic time at which it is worth asking again for room, when there is none now."""
        now = self._now()
        match self._breaker.state(now):
            case BreakerState.OPEN:
                return self._breaker.open_until
            case BreakerState.HALF_OPEN if not self._breaker.room(now, 1):
                return now + _PROBE_SECONDS  # or when a probe ends, which wakes whoever waits
        return self._bucket.ready_at(now) if self._bucket else now

    @property
    def lets_through(self) -> bool:
        """True while the breaker is closed."""
        return self._breaker.state(self._now()) is BreakerState.CLOSED

    def note(self, permit: Permit[MessageT], outcome: Outcome) -> None:
        """Learn from what a call ended in."""
        now = self._now()
        if not isinstance(outcome, Retry | Unknown) or not outcome.provider_wide:
            self._breaker.succeeded(permit.epoch, now)
        else:
            self._breaker.failed(permit.epoch, now)
            if isinstance(outcome, Retry) and outcome.after:
                self._breaker.open_for(outcome.after, now)
            metrics.PROVIDER_FAILURES.labels(self._channel, self.name).inc()
            if is_throttling(outcome):
                metrics.PROVIDER_THROTTLED.labels(self._channel, self.name).inc()
            self._show(f"{outcome.code}: {outcome.error}")
            return
        self._show("it answers again")

    def _show(self, reason: str) -> None:
        state = self._breaker.state(self._now())
        if state is self._shown:
            return
        for one in BreakerState:
            metrics.PROVIDER_BREAKER.labels(self._channel, self.name, one).set(one is state)
        if self._shown is not None:
            opened = state is BreakerState.OPEN
            seconds = round(self._breaker.open_until - self._now(), 1) if opened else None
            (log.warning if opened else log.info)(
                "provider_breaker",
                provider=self.name,
                state=state,
                was=self._shown,
                reason=reason,
                open_seconds=seconds,
            )
        self._shown = state
