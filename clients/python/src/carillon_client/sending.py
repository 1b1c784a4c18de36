"""Sends many events in few requests, each with a result of its own. Nothing here does input or output."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from carillon_client.answers import Accepted
from carillon_client.call import Call, Request
from carillon_client.errors import (
    CarillonError,
    InvalidContentError,
    MalformedError,
    ProblemError,
    TooLargeError,
    error_of,
)
from carillon_client.event import Event
from carillon_client.problems import from_document
from carillon_client.retrying import Attempts

MAX_EVENTS = 1_000
MAX_BYTES = 4 * 1024 * 1024
"""Limits of one request; those of the service."""

_ABOUT_CONTENT = (MalformedError, TooLargeError, InvalidContentError)
_TRY_LATER = 503


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as it goes over the wire. Encoded once, so a repeat is the same to the byte."""

    event: Event
    body: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one event."""

    event: Event
    accepted: Accepted | None = None
    error: CarillonError | None = None

    def result(self) -> Accepted:
        """Return the answer. Raises the error, if there is one."""
        if self.accepted is None:
            raise self.error or CarillonError("the event was not sent")
        return self.accepted


@dataclass(frozen=True, slots=True)
class Step:
    """The next request, after a pause in seconds."""

    pause: float
    call: Call[list[Accepted | ProblemError]]


class Sending:
    """The way of many events: cut into requests, answered one by one.

    A request that is refused as a whole for its content is cut in two, until the event at fault stands alone.
    What the service puts off (503 for one event of many) is sent again. When nothing comes back at all, the
    events that were still to be sent are not tried any more: they would fail one request after the other.
    """

    def __init__(self, events: Sequence[Encoded], *, attempts: Attempts) -> None:
        self._events = events
        self._results: list[Sent] = [Sent(each.event) for each in events]
        self._attempts = attempts  # of what is put off
        self._groups: deque[list[int]] = deque(_cut(events))
        self._current: list[int] = []
        self._put_off: list[int] = []

    def next_step(self) -> Step | None:
        """Return what to do now; None when every event has its result."""
        pause = 0.0
        if not self._groups and self._put_off:
            waited = self._attempts.pause_after(self._error_of(self._put_off[0]))
            if waited is None:
                return None
            self._groups.append(self._put_off)
            self._put_off, pause = [], waited
        if not self._groups:
            return None
        self._current = self._groups.popleft()
        return Step(pause, self._call())

    def answered(self, items: Sequence[Accepted | ProblemError]) -> None:
        """Take the answers to the last request, in its order."""
        for place, item in zip(self._current, items, strict=True):
            event = self._events[place].event
            if isinstance(item, ProblemError):
                self._results[place] = Sent(event, error=item)
                if item.status == _TRY_LATER:
                    self._put_off.append(place)
            else:
                self._results[place] = Sent(event, accepted=item)

    def failed(self, error: CarillonError) -> None:
        """Take the failure of the last request as a whole."""
        if isinstance(error, _ABOUT_CONTENT):
            if len(self._current) > 1:
                middle = len(self._current) // 2
                self._groups.extendleft([self._current[middle:], self._current[:middle]])
                return
            hopeless = self._current
        else:
            hopeless = [*self._current, *(place for group in self._groups for place in group)]
            self._groups.clear()
        for place in hopeless:
            self._results[place] = Sent(self._events[place].event, error=error)

    def results(self) -> list[Sent]:
        """Return what became of each, in the order they were given."""
        return self._results

    def _call(self) -> Call[list[Accepted | ProblemError]]:
        body = b"[" + b",".join(self._events[place].body for place in self._current) + b"]"
        count = len(self._current)
        return Call(Request("POST", "/v1/events", body=body), lambda said: _items(said, count))

    def _error_of(self, place: int) -> CarillonError:
        return self._results[place].error or CarillonError("put off")


def _cut(events: Sequence[Encoded]) -> list[list[int]]:
    groups: list[list[int]] = []
    size = 0
    for place, event in enumerate(events):
        more = len(event.body) + 1
        if not groups or len(groups[-1]) >= MAX_EVENTS or size + more > MAX_BYTES - 1:
            groups.append([])
            size = 0
        groups[-1].append(place)
        size += more
    return groups


def _items(said: Any, count: int) -> list[Accepted | ProblemError]:
    items = sorted(said["data"], key=lambda item: item["index"])
    if [item["index"] for item in items] != list(range(count)):
        raise ValueError(f"{len(items)} answers to {count} events")
    return [_item(item) for item in items]


def _item(item: dict[str, Any]) -> Accepted | ProblemError:
    problem = item.get("problem")
    if problem is not None:
        return error_of(from_document(problem, status=500))
    return Accepted.model_validate(item)
