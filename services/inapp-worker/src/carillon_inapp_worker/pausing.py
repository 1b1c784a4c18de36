"""Lets batches wait while the channel is paused."""

import asyncio
from collections.abc import Sequence

from carillon_shared.broker.errors import BrokerError
from carillon_shared.consumer import Handler, Received, Settlement
from carillon_shared.delivery.channel_control import PauseWatch
from carillon_shared.lifecycle import Shutdown


class StoppedWhilePausedError(BrokerError):
    """The process stops, and the channel is still paused: the messages go back to their queue."""


class PausingHandler:
    """Hands batches on to `handler`, each when the channel is not paused; they wait unacknowledged."""

    def __init__(self, handler: Handler, watch: PauseWatch, shutdown: Shutdown) -> None:
        self._handler = handler
        self._watch = watch
        self._shutdown = shutdown

    async def __call__(self, batch: list[Received]) -> Sequence[Settlement]:
        """Handle a batch. Raises `StoppedWhilePausedError`, and what `handler` raises."""
        if self._watch.paused:
            await self._wait()
        return await self._handler(batch)

    async def _wait(self) -> None:
        tasks = [asyncio.ensure_future(one) for one in (self._watch.wait_resumed(), self._shutdown.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._watch.paused:
            raise StoppedWhilePausedError("the channel is paused")
