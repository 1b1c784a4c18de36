"""A provider whose answers a test decides, and the pieces a channel worker needs around it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

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
