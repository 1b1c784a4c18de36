"""One request for events that are posted at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from carillon_client.answers import Accepted
from carillon_client.errors import BatcherClosedError
from carillon_client.event import Event
from carillon_client.gathering import BatchLimits, Gathering, Waiting
from carillon_client.sending import Encoded, Sent

_Future = asyncio.Future[Accepted]


class AsyncBatcher:
    """Gathers events for a few milliseconds and sends them together, one request at a time, in their order.

    Each event has a result of its own. Made by `AsyncCarillon.batcher()`; what waits is sent at the end of
    `async with`.
    """

    def __init__(
        self,
        encode: Callable[[Event], Encoded],
        send: Callable[[Sequence[Encoded]], Awaitable[list[Sent]]],
        limits: BatchLimits,
    ) -> None:
        self._encode = encode
        self._send_all = send
        self._gathering: Gathering[_Future] = Gathering(limits)
        self._changed = asyncio.Condition()
        self._open: set[_Future] = set()  # given and not answered
        self._hurry = 0
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    async def send(self, event: Event) -> Accepted:
        """Send an event together with others and return its answer. Raises as `AsyncCarillon.send`."""
        return await (await self.submit(event))

    async def submit(self, event: Event) -> asyncio.Future[Accepted]:
        """Put an event into the next request and return what its answer will be in.

        Waits while too many wait already. Raises `ValueError` when the data is no JSON, and
        `BatcherClosedError`.
        """
        encoded = self._encode(event)
        loop = asyncio.get_running_loop()
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_closed or not self._gathering.is_full)
            if self._is_closed:
                raise BatcherClosedError("the batcher is closed")
            future = loop.create_future()
            self._open.add(future)
            self._gathering.add(encoded, future, now=loop.time())
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="carillon-batcher")
            self._changed.notify_all()
        return future

    async def flush(self) -> None:
        """Send what waits now, and return when each has its answer. Raises nothing: the answers do."""
        async with self._changed:
            waiting = set(self._open)
            self._hurry += 1
            self._changed.notify_all()
        try:
            if waiting:
                await asyncio.wait(waiting)
        finally:
            self._hurry -= 1

    async def aclose(self) -> None:
        """Take no further events, send what waits, and end."""
        self._is_closed = True
        await self.flush()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self) -> None:
        while True:
            await self._until_due()
            async with self._changed:
                taken = self._gathering.take()
                self._changed.notify_all()  # there is room
            await self._send(taken)

    async def _until_due(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._changed:
            while (wait := self._gathering.wait(now=loop.time())) is None or (wait > 0 and not self._hurry):
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    async def _send(self, taken: Sequence[Waiting[_Future]]) -> None:
        try:
            results = await self._send_all([each.encoded for each in taken])
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            for each in taken:
                self._end(each.handle, error)
            return
        finally:
            self._open.difference_update(each.handle for each in taken)
        for each, sent in zip(taken, results, strict=True):
            self._end(each.handle, sent)

    def _end(self, future: _Future, what: Sent | Exception) -> None:
        if future.done():  # nobody waits any more
            return
        if isinstance(what, Exception):
            future.set_exception(what)
        elif what.error is not None:
            future.set_exception(what.error)
        else:
            future.set_result(what.result())
