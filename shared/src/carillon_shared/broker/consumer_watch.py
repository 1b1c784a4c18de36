"""Takes up again what a broker has stopped giving, without a word."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from carillon_shared.broker.consumer import Subscription
from carillon_shared.clock import Clock

IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """How far a subscription had come, and since when."""

    mark: tuple[int, int]
    since: float


class ConsumerWatch:
    """Begins subscriptions anew that may have been forgotten.

    Of a quorum queue that is deleted and declared again at once, RabbitMQ 3.10 tells its consumers nothing
    (4.0 does). It counts them as consumers of the new queue, hands messages to them, and loses these on
    their channels until the channels are closed. Nothing that a client can ask for shows it. So a
    subscription begins anew when its queue had not been as it should be, and whenever it has received
    nothing for a minute and owes nothing.
    """

    def __init__(
        self,
        subscriptions: Callable[[], Sequence[Subscription]],
        *,
        clock: Clock,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._wrong: frozenset[str] = frozenset()
        self._seen: dict[Subscription, _Seen] = {}

    def look(self, wrong: Collection[str]) -> None:
        """Look at every subscription. `wrong`: names of the queues that are not as they should be now."""
        mended, self._wrong = self._wrong.difference(wrong), frozenset(wrong)
        for one in self._subscriptions():
            if one.queue in mended:
                one.renew("its queue has been declared again")
            elif self._is_idle(one):
                one.renew(None)

    def _is_idle(self, one: Subscription) -> bool:
        now = self._clock.monotonic()
        seen = self._seen.get(one)
        if seen is None or seen.mark != one.mark or not (one.consuming and one.owes_nothing):
            self._seen[one] = _Seen(one.mark, now)
            return False
        return now - seen.since >= self._idle_seconds
