"""One request for events that are posted at the same time, by any number of threads."""

import atexit
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Self

from carillon_client.answers import Accepted
from carillon_client.errors import BatcherClosedError
from carillon_client.event import Event
from carillon_client.gathering import BatchLimits, Gathering, Waiting
from carillon_client.sending import Encoded, Sent

_Future = Future[Accepted]


class Batcher:
    """Gathers events for a few milliseconds and sends them together, one request at a time, in their order.

    Each event has a result of its own. Made by `Carillon.batcher()`; what waits is sent at the end of
    `with`, or when the process ends in an orderly way. A thread sends, started by the first event.
    """

    def __init__(
        self,
        encode: Callable[[Event], Encoded],
        send: Callable[[Sequence[Encoded]], list[Sent]],
        limits: BatchLimits,
    ) -> None:
        self._encode = encode
        self._send_all = send
        self._gathering: Gathering[_Future] = Gathering(limits)
        self._changed = threading.Condition()
        self._open: set[_Future] = set()  # given and not answered
        self._hurry = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def send(self, event: Event) -> Accepted:
        """Send an event together with others and return its answer. Raises as `Carillon.send`."""
        return self.submit(event).result()

    def submit(self, event: Event) -> Future[Accepted]:
        """Put an event into the next request and return what its answer will be in.

        Waits while too many wait already. Raises `ValueError` when the data is no JSON, and
        `BatcherClosedError`.
        """
        encoded = self._encode(event)
        future: _Future = Future()
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self._gathering.is_full)
            if self._is_closed:
                raise BatcherClosedError("the batcher is closed")
            self._open.add(future)
            self._gathering.add(encoded, future, now=time.monotonic())
            self._start()
            self._changed.notify_all()
        return future

    def flush(self) -> None:
        """Send what waits now, and return when each has its answer. Raises nothing: the answers do."""
        with self._changed:
            waiting = set(self._open)
            self._hurry += 1
            self._changed.notify_all()
        try:
            wait(waiting)
        finally:
            with self._changed:
                self._hurry -= 1

    def close(self) -> None:
        """Take no further events, send what waits, and end."""
        with self._changed:
            self._is_closed = True
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join()
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        if self._thread is None:
            # A daemon, or a process that forgot to close could not end; so the end of the process closes.
            self._thread = threading.Thread(target=self._run, name="carillon-batcher", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def _run(self) -> None:
        while taken := self._next():
            self._send(taken)

    def _next(self) -> list[Waiting[_Future]]:
        """Return the events of the next request, when it is due; none when closed and empty."""
        with self._changed:
            while not self._is_due():
                if self._is_closed and not self._gathering.line:
                    return []
                self._changed.wait(self._gathering.wait(now=time.monotonic()))
            taken = self._gathering.take()
            self._changed.notify_all()  # there is room
            return taken

    def _is_due(self) -> bool:
        left = self._gathering.wait(now=time.monotonic())
        return left is not None and (left <= 0 or self._hurry > 0 or self._is_closed)

    def _send(self, taken: Sequence[Waiting[_Future]]) -> None:
        claimed = [each for each in taken if each.handle.set_running_or_notify_cancel()]
        try:
            results = self._send_all([each.encoded for each in claimed])
            for each, sent in zip(claimed, results, strict=True):
                _end(each.handle, sent)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            for each in claimed:
                if not each.handle.done():
                    each.handle.set_exception(error)
        finally:
            with self._changed:
                self._open.difference_update(each.handle for each in taken)


def _end(future: _Future, sent: Sent) -> None:
    if sent.error is not None:
        future.set_exception(sent.error)
    else:
        future.set_result(sent.result())
