"""Growing, jittered pauses between attempts at something outside."""

import random
from collections.abc import Callable


class Backoff:
    """Full jitter between `first` and a ceiling that doubles from `first` up to `longest` seconds."""

    def __init__(
        self,
        *,
        first: float = 0.2,
        longest: float = 5.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._ceiling = first

    def next(self) -> float:
        """Return the seconds to wait before the next attempt."""
        delay = self._uniform(self._first, self._ceiling)
        self._ceiling = min(self._ceiling * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Begin again with the shortest pause, after a success."""
        self._ceiling = self._first
