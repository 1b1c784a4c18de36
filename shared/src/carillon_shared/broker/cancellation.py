"""Tells the library's cancellations from ours."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from carillon_shared.broker.errors import ConnectionLostError


@contextmanager
def library_cancellation() -> Iterator[None]:
    """Turn a `CancelledError` that nobody asked for into `ConnectionLostError`.

    aiormq ends whatever waits on a lost connection by cancelling it. A loop that took this for its own
    cancellation would die with the connection; `Task.cancelling()` counts only real requests.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ConnectionLostError("the connection was lost meanwhile") from error


def heed_cancellation() -> None:
    """Raise the `CancelledError` that a call may have kept to itself.

    `asyncio.wait_for` before Python 3.12, and aiormq's calls, return their result and swallow a cancellation
    that arrives in the same moment.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
