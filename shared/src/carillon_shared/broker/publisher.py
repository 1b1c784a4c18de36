"""Publishing with confirms, many at once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from aiormq.abc import AbstractConnection as WireConnection

from carillon_shared.broker.channels import KeptChannel, open_on
from carillon_shared.broker.confirms import ConfirmChannel, Pending
from carillon_shared.broker.errors import (
    NotConnectedError,
    PublishError,
    PublishRefusedError,
    PublishUnconfirmedError,
    UnroutableError,
)
from carillon_shared.broker.link import Link
from carillon_shared.broker.outgoing import Framing, Outgoing, publish_frames
from carillon_shared.telemetry import metrics

# Frames are encoded before it is known which channel will carry them; this connection has only this one.
_CHANNEL_NUMBER = 1
_FRAME_OVERHEAD = 8
_SMALLEST_FRAME_MAX = 4096
# Two slices of a call are under way at a time, so the window stays full while one of them is confirmed.
_SLICE = 128
_WRITE = 64

PublishResult = PublishError | None


class Publisher:
    """Publishes on one channel of its own link, with up to `window` messages waiting for their confirm.

    Safe to use from many tasks; what they publish at the same moment is written together.
    """

    def __init__(
        self,
        link: Link,
        *,
        app_id: str,
        window: int = 256,
        confirm_timeout: float = 10.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._now = now
        self._framing = Framing(_CHANNEL_NUMBER, _SMALLEST_FRAME_MAX - _FRAME_OVERHEAD, app_id)
        self._window = window
        self._confirm_timeout = confirm_timeout
        self._waiting: deque[Pending] = deque()
        self._work = asyncio.Event()
        self._closing = False
        self._pump: asyncio.Task[None] | None = None
        self._kept = KeptChannel(link, what="publish", build=self._open, lost=self._lost)

    @property
    def connected(self) -> bool:
        """True while a publish can leave the process."""
        return self._kept.is_open

    def start(self) -> None:
        """Begin opening, in the background."""
        self._kept.start()

    async def close(self) -> None:
        """Close the channel. What is not confirmed by now ends as unconfirmed."""
        self._closing = True
        await self._kept.close()

    async def wait_connected(self) -> None:
        """Return when a publish can leave the process."""
        await self._kept.wait_ready()

    async def publish(self, outgoing: Outgoing) -> None:
        """Publish one message and return when the broker has it safely.

        Raises `UnroutableError` when it was mandatory and no queue takes it, and `PublishUnconfirmedError`
        when the outcome is unknown: publishing again with the same message id is safe.
        """
        (result,) = await self.publish_many([outgoing])
        if result is not None:
            raise result

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish all, in order, and return one result for each: None when confirmed, else its error.

        Never raises for what the broker or the network does, only ``ValueError`` for a message that cannot be
        written (too large, key or id too long; what came before it may be published). Every message has
        `confirm_timeout` seconds from the moment its slice is handed over.
        """
        results: list[PublishResult] = []
        under_way: deque[_Slice] = deque()
        remaining = iter(outgoings)
        try:
            while (chunk := list(islice(remaining, _SLICE))) or under_way:
                if chunk:
                    under_way.append(self._hand_over(chunk))
                if len(under_way) == 2 or not chunk:
                    results += await self._finish(under_way[0])
                    under_way.popleft()
        finally:
            for left in under_way:
                left.give_up("the publisher was cancelled")
        return results

    def _hand_over(self, chunk: Sequence[Outgoing]) -> "_Slice":
        now = self._now()
        handed = _Slice(
            [(outgoing.message_id, publish_frames(outgoing, self._framing, now=now)) for outgoing in chunk]
        )
        if self._kept.is_open:
            self._waiting.extend(handed.pendings)
            self._work.set()
        else:
            handed.end(NotConnectedError, "there is no connection to the broker")
        return handed

    async def _finish(self, handed: "_Slice") -> list[PublishResult]:
        try:
            async with asyncio.timeout_at(handed.started + self._confirm_timeout):
                await handed.done
        except TimeoutError:
            handed.give_up(f"no confirm within {self._confirm_timeout:g} s")
            if not self._link.blocked:
                self._link.recycle("confirms are overdue")
        results = [pending.error for pending in handed.pendings]
        _count(results, handed.seconds)
        return results

    async def _open(self, wire: WireConnection) -> ConfirmChannel:
        tune = wire.connection_tune
        self._framing = Framing(_CHANNEL_NUMBER, tune.frame_max - _FRAME_OVERHEAD, self._framing.app_id)
        channel = await open_on(ConfirmChannel(wire, _CHANNEL_NUMBER, on_room=self._work.set))
        self._pump = asyncio.create_task(self._write(channel), name="publish-writer")
        return channel

    def _lost(self, channel: ConfirmChannel) -> None:
        if self._pump is not None:
            self._pump.cancel()
        channel.abandon("the connection was lost before the confirm")
        _end_unsent(self._waiting)
        self._waiting.clear()
        if not self._closing:
            # A channel that failed alone leaves its number in doubt; on a new connection it is free.
            self._link.recycle("the publishing channel was closed")

    async def _write(self, channel: ConfirmChannel) -> None:
        while True:
            await self._work.wait()
            room = min(self._window - channel.outstanding, _WRITE)
            batch = self._take(room)
            if batch:
                await _send(channel, batch)
            else:
                self._work.clear()

    def _take(self, room: int) -> list[Pending]:
        batch: list[Pending] = []
        while self._waiting and len(batch) < room:
            pending = self._waiting.popleft()
            if pending.error is None:  # else its publisher has given up waiting
                batch.append(pending)
        return batch


async def _send(channel: ConfirmChannel, batch: list[Pending]) -> None:
    try:
        await channel.send(batch)
    except asyncio.CancelledError:
        _end_unsent(batch)
        raise


def _end_unsent(pendings: Iterable[Pending]) -> None:
    for pending in pendings:
        pending.error = NotConnectedError(pending.message_id, "the connection was lost before it was sent")
        pending.settle(pending)


class _Slice:
    """Messages handed over together; `done` is set when the last of them has ended."""

    def __init__(self, messages: Sequence[tuple[str, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        self.started = loop.time()
        self.seconds = 0.0
        self.done: asyncio.Future[None] = loop.create_future()
        self.pendings = [Pending(message_id, frames, self._settled) for message_id, frames in messages]
        self._open = len(self.pendings)

    def end(self, error: type[PublishUnconfirmedError], detail: str) -> None:
        """End every message of the slice with this error."""
        for pending in self.pendings:
            pending.error = error(pending.message_id, detail)
            self._settled(pending)

    def give_up(self, detail: str) -> None:
        """End what is still open as unconfirmed; a confirm that comes later changes nothing."""
        for pending in self.pendings:
            if pending.settle is not _ignore:
                pending.error = pending.error or PublishUnconfirmedError(pending.message_id, detail)
                pending.settle = _ignore

    def _settled(self, pending: Pending) -> None:
        pending.settle = _ignore
        self._open -= 1
        if self._open == 0 and not self.done.done():
            self.seconds = asyncio.get_running_loop().time() - self.started
            self.done.set_result(None)


def _ignore(_pending: Pending) -> None:
    return


def _count(results: Sequence[PublishResult], seconds: float) -> None:
    failed = [result for result in results if result is not None]
    metrics.PUBLISHED.labels("confirmed").inc(len(results) - len(failed))
    if seconds:
        metrics.PUBLISH_SECONDS.observe(seconds)
    for error in failed:
        metrics.PUBLISHED.labels(_RESULT_NAMES.get(type(error), "unconfirmed")).inc()


_RESULT_NAMES: dict[type[PublishError], str] = {
    UnroutableError: "returned",
    PublishRefusedError: "refused",
    NotConnectedError: "not_connected",
}
