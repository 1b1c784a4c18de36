"""The newest signal of each name, kept for a while: who opens a stream later sees how far a job is."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from carillon_api.stream.stepping import Message

KEPT_SECONDS = 120.0
MAX_BYTES = 16_000_000

Key = tuple[int, str, str]  # 0 a person or 1 a topic, which, and the signal's name


class _Kept(NamedTuple):
    until: float
    message: Message
    size: int


class LastSignals:
    """Of this process only, in memory of bounded size; the oldest go first."""

    def __init__(self, clock: Callable[[], float], *, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[tuple[str, Key], _Kept] = {}  # oldest first
        self._names: dict[tuple[str, int, str], dict[str, None]] = {}

    def keep(self, tenant: str, key: Key, message: Message) -> None:
        """Keep a signal in the place of the last one with this key."""
        self._drop(tenant, key)
        one = _Kept(self._clock() + KEPT_SECONDS, message, len(message["body"]))
        self._kept[tenant, key] = one
        self._names.setdefault((tenant, *key[:2]), {})[key[2]] = None
        self._bytes += one.size
        self._make_room()

    def of(self, tenant: str, person: str, topics: Iterable[str]) -> Iterator[tuple[Key, Message]]:
        """Return what is kept for a person and these topics, the older of a target first."""
        now = self._clock()
        for kind, target in [(0, person), *((1, topic) for topic in sorted(topics))]:
            for name in self._names.get((tenant, kind, target), ()):
                one = self._kept[tenant, (kind, target, name)]
                if one.until > now:
                    yield (kind, target, name), one.message

    def _make_room(self) -> None:
        now = self._clock()
        while self._kept:
            (tenant, key), oldest = next(iter(self._kept.items()))
            if oldest.until > now and self._bytes <= self._max_bytes:
                return
            self._drop(tenant, key)

    def _drop(self, tenant: str, key: Key) -> None:
        one = self._kept.pop((tenant, key), None)
        if one is None:
            return
        self._bytes -= one.size
        names = self._names[tenant, key[0], key[1]]
        del names[key[2]]
        if not names:
            del self._names[tenant, key[0], key[1]]
