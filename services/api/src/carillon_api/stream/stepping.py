"""Sending without a task: a `send` that need not wait is over after its first step.

A server's `send` waits only while the client reads too slowly. Stepping it by hand spares every stream a task
and a queue, and a broadcast a wake-up of each task; only a send that does wait gets a task to finish in.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def begin(send: Send, message: Message) -> "Unfinished | None":
    """Send; return None when that is done, and else what remains to be awaited. Raises what `send` raises."""
    sending = _coroutine(send(message))
    try:
        waits_for = sending.send(None)
    except StopIteration:
        return None
    return Unfinished(sending, waits_for)


class Unfinished:
    """The rest of a `send` that has to wait. Must be awaited."""

    __slots__ = ("_sending", "_waits_for")

    def __init__(self, sending: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._sending = sending
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        """Hand the future that the first step waits for to the task that awaits us, then carry on."""
        waits_for = self._waits_for
        try:
            while True:
                try:
                    result = yield waits_for
                except BaseException as error:  # noqa: BLE001 - a cancellation too belongs to the send
                    waits_for = self._sending.throw(error)
                else:
                    waits_for = self._sending.send(result)
        except StopIteration:
            return


def _coroutine(awaitable: Awaitable[None]) -> Coroutine[Any, Any, None]:
    if isinstance(awaitable, Coroutine):
        return awaitable
    return _wrapped(awaitable)


async def _wrapped(awaitable: Awaitable[None]) -> None:
    await awaitable
