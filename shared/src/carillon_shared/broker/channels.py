"""One broker channel that is kept open."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Generic, TypeVar

import structlog
from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractConnection as WireConnection
from aiormq.channel import Channel

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.cancellation import heed_cancellation, library_cancellation
from carillon_shared.broker.errors import ConnectionLostError
from carillon_shared.broker.link import Link, closing_words

_OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_STABLE_SECONDS = 5.0

log = structlog.get_logger(__name__)

ChannelT = TypeVar("ChannelT", bound=Channel)


class KeptChannel(Generic[ChannelT]):
    """Opens a channel on the link's connection, and another whenever it closes for any reason.

    `build` makes and opens one. `begin` is called when it can be used already, and it counts as ready after
    that. `lost` is told when one that was built is gone.
    """

    def __init__(
        self,
        link: Link,
        *,
        what: str,
        build: Callable[[WireConnection], Awaitable[ChannelT]],
        lost: Callable[[ChannelT], None],
        begin: Callable[[ChannelT], Awaitable[None]] | None = None,
    ) -> None:
        self._link = link
        self._what = what
        self._build = build
        self._lost = lost
        self._begin = begin
        self._ready = asyncio.Event()
        self._channel: ChannelT | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._complaint: str | None = None
        self._dropped: asyncio.Future[str | None] | None = None

    @property
    def channel(self) -> ChannelT | None:
        """The channel, while it is open."""
        return self._channel

    @property
    def is_open(self) -> bool:
        """True while there is a channel that works."""
        return self._channel is not None and not self._channel.is_closed

    @property
    def is_ready(self) -> bool:
        """True while there is one that has begun its work."""
        return self.is_open and self._ready.is_set()

    async def wait_ready(self) -> None:
        """Return when there is a channel that has begun its work."""
        await self._ready.wait()

    def renew(self, reason: str | None) -> None:
        """Drop the channel, which no longer does its work, and open another; at once without a reason."""
        if self._dropped is not None and not self._dropped.done():
            self._dropped.set_result(reason)

    def start(self) -> None:
        """Begin opening, in the background."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"channel-{self._what}")

    async def close(self) -> None:
        """Close the channel for good."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def _keep(self) -> None:
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while True:
            wire = await self._link.wire()
            started = clock()
            at_once = False
            try:
                with library_cancellation():
                    at_once = await self._open_and_watch(wire)
            except Exception as error:  # noqa: BLE001 - whatever ends a channel, the next one follows
                self._complain(str(error) or type(error).__name__)
            if clock() - started > _STABLE_SECONDS:
                backoff.reset()
            await asyncio.sleep(0 if at_once else backoff.next())

    async def _open_and_watch(self, wire: WireConnection) -> bool:
        """Return when the channel is gone: whether the next one is to follow at once."""
        async with asyncio.timeout(_OPEN_SECONDS):
            channel = await self._build(wire)
        self._channel = channel
        try:
            heed_cancellation()
            return await self._work_with(channel)
        finally:
            self._ready.clear()
            self._channel = None
            self._lost(channel)
            await close_channel(channel)

    async def _work_with(self, channel: ChannelT) -> bool:
        closing, self._dropped = channel.closing, asyncio.get_running_loop().create_future()
        if self._begin is not None:
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._begin(channel)
            heed_cancellation()
        self._ready.set()
        await asyncio.wait([closing, self._dropped], return_when=asyncio.FIRST_COMPLETED)
        reason = self._dropped.result() if self._dropped.done() else closing_words(closing)
        if reason is not None:
            self._complain(reason)
        return reason is None

    def _complain(self, complaint: str) -> None:
        # A lost connection is told by its link, and the same reason every few seconds helps nobody.
        if self._link.connected and complaint != self._complaint:
            log.warning("broker channel closed", channel=self._what, reason=complaint)
        self._complaint = complaint


def free_number(wire: WireConnection) -> int:
    """Return the lowest channel number nothing uses."""
    return next(number for number in count(1) if number not in wire.channels)


async def open_on(channel: ChannelT) -> ChannelT:
    """Register a channel made by hand on its connection and open it."""
    channel.connection.channels[channel.number] = channel
    await channel.open(timeout=_OPEN_SECONDS)
    return channel


async def close_channel(channel: Channel) -> None:
    """Close a channel that may be broken already, in bounded time."""
    if channel.is_closed:
        return
    with contextlib.suppress(OSError, RuntimeError, ConnectionLostError, AMQPError), library_cancellation():
        async with asyncio.timeout(_CLOSE_SECONDS):
            await channel.close()
