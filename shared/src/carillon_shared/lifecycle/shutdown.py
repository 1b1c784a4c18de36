"""The wish to stop, as a fact that everything in the process can wait for."""

import asyncio
from collections.abc import Callable


class ShuttingDownError(Exception):
    """The process is stopping."""


class Shutdown:
    """Set once, by the first SIGTERM or SIGINT, and never taken back."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """True from the moment the signal arrived."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask for the stop. Readiness is red before anything that waits gets its turn."""
        if self.requested:
            return
        self._event.set()
        for callback in self._callbacks:
            callback()

    def on_request(self, callback: Callable[[], None]) -> None:
        """Call this when the stop is asked for, before tasks that wait are woken, or now if it was."""
        self._callbacks.append(callback)
        if self.requested:
            callback()

    async def wait(self) -> None:
        """Return when the stop has been asked for."""
        await self._event.wait()

    async def ready(self) -> None:
        """Probe of a readiness check. Raises `ShuttingDownError` once the stop has been asked for."""
        if self.requested:
            raise ShuttingDownError("shutting down")
