"""A stream of the fake: what is missing first, then what happens, as it happens."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import httpx2

from carillon_client.following import IDLE_SECONDS
from carillon_client.testing.answering import Asked, Refused
from carillon_client.testing.feeds import Feed, frame
from carillon_client.testing.inbox_routes import own
from carillon_client.testing.state import State


@dataclass(slots=True)
class Listeners:
    """Wakes open streams when something has happened."""

    wake: list[Callable[[], None]] = field(default_factory=list)

    def told(self) -> None:
        """Tell them."""
        for one in list(self.wake):
            one()


@dataclass(slots=True)
class Place:
    """Where one stream is."""

    state: State
    subscriber: str
    topics: frozenset[str]
    feed: Feed
    cursor: int
    signal: int
    start: bytes

    def news(self) -> bytes:
        """Return what this stream has not said yet."""
        said = self.start + b"".join(self.feed.frames(self.cursor)) + self._signals()
        self.start, self.cursor, self.signal = b"", self.feed.seq, len(self.state.signals)
        return said

    def _signals(self) -> bytes:
        said = b""
        for signal in self.state.signals[self.signal :]:
            if self.subscriber in signal.users:
                said += frame("signal", {"name": signal.name, "data": signal.data})
            for topic in self.topics.intersection(signal.topics):
                said += frame("signal", {"name": signal.name, "data": signal.data, "topic": topic})
        return said


def opened(state: State, asked: Asked, last_event_id: str | None) -> Place:
    """Return the place of a new stream. Raises `Refused`: 403 for topics, 404 for somebody unknown."""
    feed = own(state, asked)
    person = str(asked.subscriber)
    wanted = frozenset(filter(None, asked.query.get("topics", "").split(",")))
    if not wanted <= frozenset(state.groups_of("topics", person)) | asked.topics:
        raise Refused(
            403, "forbidden", "You follow not all of these topics, and your token allows no others."
        )
    cursor, start = _begin(feed, last_event_id)
    return Place(state, person, wanted, feed, cursor, len(state.signals), start)


def _begin(feed: Feed, last_event_id: str | None) -> tuple[int, bytes]:
    """Return from where a stream goes on, and what it says first."""
    counts, reason = feed.counts(), None
    cursor = feed.seq if last_event_id is None else int(last_event_id) if last_event_id.isdigit() else -1
    if cursor < 0 or cursor > feed.seq:
        reason, cursor = "cursor_unknown" if cursor < 0 else "cursor_ahead", feed.seq
    ready = frame("ready", {"counts": counts}, seq=cursor)
    return cursor, ready + (
        frame("reset", {"reason": reason, "counts": counts}, seq=cursor) if reason else b""
    )


class BlockingStream(httpx2.SyncByteStream):
    """For the blocking client: waits in its thread."""

    def __init__(self, place: Place, listeners: Listeners, lock: AbstractContextManager[object]) -> None:
        self._place = place
        self._listeners = listeners
        self._lock = lock
        self._woken = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        self._listeners.wake.append(self._woken.set)
        try:
            while True:
                with self._lock:
                    news = self._place.news()
                if news:
                    yield news
                if not self._woken.wait(IDLE_SECONDS):
                    raise httpx2.ReadTimeout("nothing happened for a long time")
                self._woken.clear()
        finally:
            self._listeners.wake.remove(self._woken.set)


class AsyncStream(httpx2.AsyncByteStream):
    """For the asynchronous client: waits in its loop, whichever thread tells."""

    def __init__(self, place: Place, listeners: Listeners, lock: AbstractContextManager[object]) -> None:
        self._place = place
        self._listeners = listeners
        self._lock = lock

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self._listeners.wake.append(wake)
        try:
            while True:
                with self._lock:
                    news = self._place.news()
                if news:
                    yield news
                async with asyncio.timeout(IDLE_SECONDS):
                    await woken.wait()
                woken.clear()
        except TimeoutError as error:
            raise httpx2.ReadTimeout("nothing happened for a long time") from error
        finally:
            self._listeners.wake.remove(wake)
