"""Whose work waits in a work queue, and how much of it."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from carillon_shared.broker.window import Gauge


@dataclass(frozen=True, slots=True)
class ShareLimits:
    """What one tenant may have in a work queue, beside what the workers have taken already.

    They take turns of the tenants within what they have; what is still in the queue keeps its order, and at
    50 mails a second 50 mails are a second.
    """

    waiting: int = 50  # deliveries that may be there when somebody looks
    messages: int = 100  # put there between two looks
    deliveries: int = 1000  # that these messages carry; a larger one goes alone


USUAL_LIMITS = ShareLimits()
_MANY = 10_000  # messages


class QueueShares:
    """Whose messages wait in a queue, as far as this process knows.

    A queue keeps its order, so those that wait are the last that were put into it. What other processes
    put there makes this one's part seem older than it is: it is then counted for longer.
    """

    def __init__(self, gauge: Gauge, limits: ShareLimits) -> None:
        self._gauge = gauge
        self._limits = limits
        self._put: deque[tuple[str, int]] = deque()
        self._waiting: Counter[str] = Counter()  # deliveries of those
        self._since_look: dict[str, tuple[int, int]] = {}  # messages and their deliveries
        self._over: frozenset[str] = frozenset()
        self._look_at = _MANY

    def is_over(self, tenant: str) -> bool:
        """Tell whether at the last look too much of this tenant waited."""
        return tenant in self._over

    def take(self, tenant: str, deliveries: int) -> bool:
        """Count a message and return True, when this tenant may put it into the queue."""
        messages, sum_of_deliveries = self._since_look.get(tenant, (0, 0))
        if tenant in self._over or (
            messages and not self._fits(messages + 1, sum_of_deliveries + deliveries)
        ):
            return False
        self._since_look[tenant] = (messages + 1, sum_of_deliveries + deliveries)
        self._put.append((tenant, deliveries))
        self._waiting[tenant] += deliveries
        return True

    @property
    def wants_look(self) -> bool:
        """True when so much has been counted that most of it must be gone."""
        return len(self._put) >= self._look_at

    async def look(self) -> None:
        """Forget what the workers have been given meanwhile."""
        ready = await self._gauge.ready()
        while len(self._put) > ready:
            tenant, deliveries = self._put.popleft()
            self._waiting[tenant] -= deliveries
        self._waiting = +self._waiting
        self._over = frozenset(one for one, many in self._waiting.items() if many > self._limits.waiting)
        self._since_look.clear()
        self._look_at = len(self._put) + _MANY

    def _fits(self, messages: int, deliveries: int) -> bool:
        return messages <= self._limits.messages and deliveries <= self._limits.deliveries


class Shares:
    """The shares of every work queue, by its name."""

    def __init__(self, gauge: Callable[[str], Gauge], limits: ShareLimits = USUAL_LIMITS) -> None:
        self._gauge = gauge
        self._limits = limits
        self._queues: dict[str, QueueShares] = {}

    def of(self, queue: str) -> QueueShares:
        """Return the shares of one queue."""
        if queue not in self._queues:
            self._queues[queue] = QueueShares(self._gauge(queue), self._limits)
        return self._queues[queue]
