"""An open stream whose frames are kept until somebody asks for one."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from carillon_cli.api import Api
from carillon_cli.failures import CommandError
from carillon_cli.feed_stream import FeedStream

_OPEN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One frame and when it came (`time.monotonic`)."""

    event: str
    data: dict[str, Any]
    at: float


class Listener:
    """One person's stream. Use as an async context manager: inside, the stream is open."""

    def __init__(self, api: Api, user: str) -> None:
        self.user = user
        self._stream = FeedStream(api, user)
        self._heard: list[Heard] = []
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen(), name=f"stream of {self.user}")
        if await self.wait_for(lambda heard: heard.event == "ready", seconds=_OPEN_SECONDS) is None:
            await self._close()
            raise CommandError(f"The stream of {self.user} did not open within {_OPEN_SECONDS:g} s.")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def wait_for(self, wanted: Callable[[Heard], bool], *, seconds: float) -> Heard | None:
        """Return the first frame that is wanted, heard already or soon; None when it does not come.

        Raises:
            CommandError: when the stream cannot be had.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                while (found := next(filter(wanted, self._heard), None)) is None:
                    if self._task is not None and self._task.done():
                        self._task.result()
                    await self._news.wait()
                return found
        return None

    def heard(self, wanted: Callable[[Heard], bool]) -> list[Heard]:
        """Return the frames so far that are wanted."""
        return list(filter(wanted, self._heard))

    async def _listen(self) -> None:
        try:
            async with contextlib.aclosing(self._stream.frames()) as frames:
                async for frame in frames:
                    heard = Heard(frame.event, json.loads(frame.data), time.monotonic())
                    async with self._news:
                        self._heard.append(heard)
                        self._news.notify_all()
        finally:
            async with self._news:
                self._news.notify_all()

    async def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
