"""Gathers events that are posted concurrently into one request. Pure: time is passed in."""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from carillon_client.sending import MAX_BYTES, MAX_EVENTS, Encoded

HandleT = TypeVar("HandleT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch leaves: when it is full, or when its first event has waited long enough."""

    max_events: int = 200
    max_bytes: int = 1024 * 1024
    max_wait_seconds: float = 0.01
    max_pending: int = 10_000
    """Events that may wait for their request; who gives one more waits until there is room."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_events <= MAX_EVENTS or not 1 <= self.max_bytes <= MAX_BYTES:
            raise ValueError(f"a request takes at most {MAX_EVENTS} events and {MAX_BYTES} bytes")
        if self.max_wait_seconds < 0 or self.max_pending < 1:
            raise ValueError("nobody waits less than no time, and one event has to fit")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[HandleT]):
    """An event that waits for its request, and what its result goes to."""

    encoded: Encoded
    handle: HandleT
    since: float


@dataclass(slots=True)
class Gathering(Generic[HandleT]):
    """The events that wait, oldest first."""

    limits: BatchLimits
    line: deque[Waiting[HandleT]] = field(default_factory=deque)
    size: int = 0

    @property
    def is_full(self) -> bool:
        """True while no further event is taken."""
        return len(self.line) >= self.limits.max_pending

    def add(self, encoded: Encoded, handle: HandleT, *, now: float) -> None:
        """Put an event at the end of the line."""
        self.line.append(Waiting(encoded, handle, now))
        self.size += len(encoded.body) + 1

    def wait(self, *, now: float) -> float | None:
        """Return the seconds until a request is due; None while nothing waits."""
        if not self.line:
            return None
        if len(self.line) >= self.limits.max_events or self.size >= self.limits.max_bytes:
            return 0.0
        return max(0.0, self.line[0].since + self.limits.max_wait_seconds - now)

    def take(self) -> list[Waiting[HandleT]]:
        """Take the events of the next request out of the line; at least one, if any waits."""
        taken: list[Waiting[HandleT]] = []
        size = 0
        while self.line and len(taken) < self.limits.max_events:
            more = len(self.line[0].encoded.body) + 1
            if taken and size + more > self.limits.max_bytes:
                break
            taken.append(self.line.popleft())
            size += more
        self.size -= size
        return taken
