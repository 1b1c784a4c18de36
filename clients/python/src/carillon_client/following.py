"""What a client of the stream remembers, and what it does next. Nothing here does input or output."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from httpx2 import ServerSentEvent

from carillon_client.call import Request
from carillon_client.errors import CarillonError, ProblemError, UnauthorizedError
from carillon_client.feed import Frame, Notification, Ready, Update, frame_of
from carillon_client.retrying import RetryPolicy

IDLE_SECONDS = 45.0
"""A stream that says nothing for so long is dead: three pings have not come."""

_SERVER_ERROR = 500
_BETWEEN = RetryPolicy(first_seconds=0.5, longest_seconds=30.0)


class UnreadableFrameError(CarillonError):
    """A frame that this version cannot read; reading it again would not help."""


@dataclass(slots=True)
class Following:
    """The place of one client in a stream."""

    topics: Sequence[str] = ()
    cursor: str | None = None
    token_is_fresh: bool = False
    draw: Callable[[], float] = random.random
    _failed: int = 0
    _retry_seconds: float = 0.0
    _held: list[Frame] = field(default_factory=list)

    def request(self, token: str) -> Request:
        """Return the request that goes on after what has been seen. Begins a connection."""
        self._held = []
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        query = (("topics", ",".join(self.topics)),) if self.topics else ()
        return Request("GET", "/v1/inbox/stream", query, token=token, headers=headers)

    def take(self, sse: ServerSentEvent) -> list[Frame]:
        """Return the frames that can be shown now.

        Changes of one sequence number may come as several frames, of which the last has the id. They are held
        until it is there: were the connection cut in between, the first would come again.
        """
        if sse.retry is not None:
            self._retry_seconds = sse.retry / 1000
        frame = self._read(sse)
        is_new = bool(sse.id) and sse.id != self.cursor
        if isinstance(frame, Notification | Update) and not is_new:
            self._held.append(frame)
            return []
        if is_new:
            self.cursor = sse.id
        if isinstance(frame, Ready):
            self._failed, self.token_is_fresh = 0, False
        shown = self._held if is_new else []
        self._held = [] if is_new else self._held
        return [*shown, frame] if frame is not None else shown

    def pause_after(self, error: CarillonError | None) -> float:
        """Return the seconds to wait before the next connection; None for an orderly end.

        Raises the error when another connection would end the same way.
        """
        if isinstance(error, UnauthorizedError) and not self.token_is_fresh:
            return 0.0  # it has expired: ask for another
        if error is not None and not _passes(error):
            raise error
        self.token_is_fresh = False
        self._failed += 1
        asked = error.retry_after if error is not None else None
        wait = _BETWEEN.wait(self._failed, retry_after=asked, draw=self.draw())
        return max(wait, self._retry_seconds) if asked is None else wait

    def _read(self, sse: ServerSentEvent) -> Frame | None:
        try:
            return frame_of(sse.event, sse.data)
        except ValueError as error:
            raise UnreadableFrameError(str(error)) from error


def _passes(error: CarillonError) -> bool:
    return error.transient or (isinstance(error, ProblemError) and error.status >= _SERVER_ERROR)
