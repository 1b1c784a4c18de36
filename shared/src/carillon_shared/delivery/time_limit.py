"""One time limit for many calls at once.

`asyncio.timeout` sets a timer for each call, which costs a worker a tenth of its time. All attempts have the
same limit, so they expire in the order in which they began, and one timer serves them all.
"""

import asyncio
from functools import cached_property
from types import TracebackType


class TimeLimit:
    """Ends calls of this event loop that take longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._open: dict[LimitedCall, float] = {}  # deadlines, ascending
        self._timer: asyncio.TimerHandle | None = None

    def call(self) -> "LimitedCall":
        """Return a context for one call: raises ``TimeoutError`` when it takes too long."""
        return LimitedCall(self)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # kept: each look-up asks the operating system

    def _begin(self, call: "LimitedCall") -> "asyncio.Task[object]":
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("there is no task whose call could be ended")
        deadline = self._loop.time() + self.seconds
        self._open[call] = deadline
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)
        return task

    def _end(self, call: "LimitedCall") -> None:
        self._open.pop(call, None)

    def _expire(self) -> None:
        self._timer = None
        late = []
        for call, deadline in self._open.items():
            if deadline > self._loop.time():
                self._timer = self._loop.call_at(deadline, self._expire)
                break
            late.append(call)
        for call in late:
            del self._open[call]
            call.cut_off()


class LimitedCall:
    """One call under the limit; a context manager in the manner of `asyncio.timeout`."""

    __slots__ = ("_cancelling", "_cut_off", "_limit", "_task")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._cut_off = False

    def cut_off(self) -> None:
        """End the call now."""
        self._cut_off = True
        self._task.cancel()

    def __enter__(self) -> None:
        self._task = self._limit._begin(self)  # noqa: SLF001 - the two are one
        self._cancelling = self._task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit._end(self)  # noqa: SLF001 - as above
        # A task that others have cancelled as well stays cancelled.
        if self._cut_off and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
