"""Values looked up once and kept for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from carillon_shared.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Keeps what `load` returned for `seconds`, at most `size` values; concurrent look-ups share one load.

    What is not there (None) is kept too. A `load` that fails is not kept, and raises for all who waited.
    """

    def __init__(
        self, load: Callable[[K], Awaitable[V]], *, seconds: float, clock: Clock, size: int = 10_000
    ) -> None:
        self._load = load
        self._seconds = seconds
        self._clock = clock
        self._size = size
        self._kept: dict[K, tuple[float, V]] = {}
        self._loading: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """Return the value of `key`, at most `seconds` old. Raises what `load` raises."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._clock.monotonic():
            return kept[1]
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.ensure_future(self._fill(key))
            loading.add_done_callback(_observe)
        return await asyncio.shield(loading)

    def forget(self, key: K) -> None:
        """Look this up again next time."""
        self._kept.pop(key, None)

    async def _fill(self, key: K) -> V:
        try:
            value = await self._load(key)
        finally:
            self._loading.pop(key, None)
        while len(self._kept) >= self._size:
            self._kept.pop(next(iter(self._kept)))  # the oldest
        self._kept.pop(key, None)
        self._kept[key] = (self._clock.monotonic() + self._seconds, value)
        return value


def _observe(task: "asyncio.Task[V]") -> None:
    if not task.cancelled():
        task.exception()  # every waiter may have gone; an error nobody reads is no error
