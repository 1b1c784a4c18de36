"""A provider whose answers a test decides, and the pieces a channel worker needs around it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from carillon_shared.clock import Clock, SystemClock
from carillon_shared.delivery.breaker import BreakerPolicy, CircuitBreaker
from carillon_shared.delivery.failover import Providers
from carillon_shared.delivery.guard import Guard
from carillon_shared.delivery.rate_limit import TokenBucket
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.outcomes import Outcome, Sent

Answer = Callable[[LeasedDelivery], Awaitable[Outcome]]


async def accept(delivery: LeasedDelivery) -> Outcome:
    """Take every message."""
    return Sent(f"p-{delivery.id}")


@dataclass(slots=True)
class ScriptedProvider:
    """Answers as `answer` says; remembers what it was given and how many calls are open."""

    answer: Answer = accept
    name: str = "scripted"
    received: Counter[UUID] = field(default_factory=Counter)
    open_calls: int = 0
    most_open_calls: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: LeasedDelivery) -> Outcome:
        """Count the call and answer."""
        self.received[message.id] += 1
        self.open_calls += 1
        self.most_open_calls = max(self.most_open_calls, self.open_calls)
        self.changed.set()
        try:
            return await self.answer(message)
        finally:
            self.open_calls -= 1
            self.changed.set()

    async def aclose(self) -> None:
        """Nothing to give back."""


def as_it_is(delivery: LeasedDelivery) -> LeasedDelivery:
    """Compose nothing: hand the delivery itself to the provider."""
    return delivery


def guarded(
    *providers: ScriptedProvider,
    clock: Clock | None = None,
    policy: BreakerPolicy | None = None,
    rate: float = 0.0,
) -> Providers[LeasedDelivery]:
    """Put a breaker, without jitter, and a rate limit before each of these providers."""
    ticking = clock or SystemClock()
    guards = [
        Guard(
            provider,
            channel=Channel.EMAIL,
            breaker=CircuitBreaker(policy, uniform=lambda _low, _high: 0.0),
            bucket=TokenBucket(rate) if rate else None,
            clock=ticking,
        )
        for provider in providers
    ]
    return Providers(guards, clock=ticking)
