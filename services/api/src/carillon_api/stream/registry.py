"""Which streams are open, by person and by topic."""

from collections.abc import Iterable, Iterator

from carillon_api.stream.connection import LiveStream

_PERSON, _TOPIC = 0, 1
_Key = tuple[int, str, str]  # kind, tenant, name

PING_SECONDS = 15


class Streams:
    """Open streams. Those of one key are kept in a tuple: few change, many are read."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, tuple[LiveStream, ...]] = {}
        self._all: dict[LiveStream, int] = {}
        self._wheel: list[set[LiveStream]] = [set() for _ in range(PING_SECONDS)]
        self._added = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[LiveStream]:
        return iter(tuple(self._all))

    def add(self, stream: LiveStream) -> None:
        """Begin to find this stream."""
        self._added += 1
        slot = self._added % PING_SECONDS
        self._all[stream] = slot
        self._wheel[slot].add(stream)
        for key in _keys(stream):
            self._by_key[key] = (*self._by_key.get(key, ()), stream)

    def remove(self, stream: LiveStream) -> None:
        """Find this stream no more."""
        slot = self._all.pop(stream, None)
        if slot is None:
            return
        self._wheel[slot].discard(stream)
        for key in _keys(stream):
            left = tuple(other for other in self._by_key.get(key, ()) if other is not stream)
            if left:
                self._by_key[key] = left
            else:
                self._by_key.pop(key, None)

    def of_person(self, tenant: str, subscriber: str) -> tuple[LiveStream, ...]:
        """Return the streams of one person."""
        return self._by_key.get((_PERSON, tenant, subscriber), ())

    def of_topic(self, tenant: str, topic: str) -> tuple[LiveStream, ...]:
        """Return the streams that asked for a topic."""
        return self._by_key.get((_TOPIC, tenant, topic), ())

    def slot(self, tick: int) -> tuple[LiveStream, ...]:
        """Return the streams whose turn for a ping this second is."""
        return tuple(self._wheel[tick % PING_SECONDS])


def _keys(stream: LiveStream) -> Iterable[_Key]:
    person = stream.asked.person
    yield _PERSON, person.tenant, person.subscriber
    for topic in stream.asked.topics:
        yield _TOPIC, person.tenant, topic
