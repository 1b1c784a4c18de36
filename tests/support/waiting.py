"""Waiting for facts, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE_SECONDS = 0.02


def wait_until(fact: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until a fact holds, asking every 20 ms.

    Raises:
        AssertionError: when it does not hold in time, naming what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(_PAUSE_SECONDS)


async def eventually(fact: Callable[[], Awaitable[T]], *, seconds: float, what: str) -> T:
    """Ask every 20 ms until the answer is true, and return it.

    Raises:
        AssertionError: when it is not true in time, naming what was waited for and the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (answer := await fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}; last answer: {answer!r}")
        await asyncio.sleep(_PAUSE_SECONDS)
    return answer
