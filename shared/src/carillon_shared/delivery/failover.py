"""The providers of a channel in the order in which they are asked, and what may begin with them."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from carillon_shared.clock import Clock
from carillon_shared.delivery.guard import Guard, Permit

MessageT = TypeVar("MessageT")


class Providers(Generic[MessageT]):
    """One provider, or a first one and others that stand in for it.

    The first is asked as long as it takes calls. One that stands in is asked while the breakers before it are
    open, and never because of a rate limit: that would be a way around it.
    """

    def __init__(self, guards: Sequence[Guard[MessageT]], *, clock: Clock) -> None:
        self._guards = tuple(guards)
        self._now = clock.monotonic
        self.paused = False

    def reserve(self, wanted: int) -> list[Permit[MessageT]]:
        """Take as many permits of `wanted` as there are now."""
        permits: list[Permit[MessageT]] = []
        if self.paused:
            return permits
        for guard in self._asked():
            permits += guard.reserve(wanted - len(permits))
            if len(permits) >= wanted:
                break
        return permits

    def _asked(self) -> Iterator[Guard[MessageT]]:
        """Yield the providers down to the first whose breaker is closed."""
        for guard in self._guards:
            yield guard
            if guard.lets_through:
                return

    def give_back(self, permits: Sequence[Permit[MessageT]]) -> None:
        """Take back permits that were not used."""
        for permit in permits:
            permit.guard.give_back(permit)

    def instead_of(self, guard: Guard[MessageT]) -> Permit[MessageT] | None:
        """Return the right to call the next provider now, after this one has refused."""
        after = self._guards[self._guards.index(guard) + 1 :]
        return next((permits[0] for one in after if (permits := one.reserve(1))), None)

    @property
    def could_begin(self) -> bool:
        """True when `reserve` would return something."""
        return not self.paused and any(guard.room(1) > 0 for guard in self._asked())

    @property
    def takes_work(self) -> bool:
        """True while some provider's breaker is closed and the channel is not paused."""
        return not self.paused and any(guard.lets_through for guard in self._guards)

    def ready_in(self) -> float | None:
        """Return after how many seconds it is worth asking again. None while the channel is paused."""
        if self.paused:
            return None
        return max(min(guard.ready_at() for guard in self._asked()) - self._now(), 0.0)

    async def aclose(self) -> None:
        """Give back what the providers hold."""
        for guard in self._guards:
            await guard.provider.aclose()
