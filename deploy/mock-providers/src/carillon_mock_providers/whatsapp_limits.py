"""Throughput limits of the Cloud API: by sending number (130429) and by pair of numbers (131056)."""

import time
from collections import OrderedDict
from collections.abc import Callable

from carillon_mock_providers.whatsapp_errors import CloudApiError

_PAIRS_REMEMBERED = 100_000


class ThroughputLimits:
    """A token bucket of one second for each sending number, a least interval for each pair."""

    def __init__(
        self,
        *,
        messages_per_second: float,
        pair_interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = messages_per_second
        self._interval = pair_interval_seconds
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._pairs: OrderedDict[tuple[str, str], float] = OrderedDict()

    def check(self, *, sender: str, recipient: str) -> None:
        """Takes one message's share; raises CloudApiError when there is none."""
        now = self._clock()
        if self._rate:
            self._take(sender, now)
        if self._interval:
            self._space(sender, recipient, now)

    def _take(self, sender: str, now: float) -> None:
        burst = max(1.0, self._rate)
        level, then = self._buckets.get(sender, (burst, now))
        level = min(burst, level + (now - then) * self._rate)
        self._buckets[sender] = (max(0.0, level - 1), now) if level >= 1 else (level, now)
        if level < 1:
            raise CloudApiError(130429)

    def _space(self, sender: str, recipient: str, now: float) -> None:
        last = self._pairs.get((sender, recipient))
        if last is not None and now - last < self._interval:
            raise CloudApiError(131056)
        self._pairs[sender, recipient] = now
        self._pairs.move_to_end((sender, recipient))
        if len(self._pairs) > _PAIRS_REMEMBERED:
            self._pairs.popitem(last=False)
