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
from carillon_shared.broker.cancellation import library_cancellation
from carillon_shared.broker.errors import ConnectionLostError
from carillon_shared.broker.link import Link, closing_words

_OPEN_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
_STABLE_SECONDS = 5.0

log = structlog.get_logger(__name__)

ChannelT = TypeVar("ChannelT", bound=Channel)


class KeptChannel(Generic[ChannelT]):
    """Opens a channel on the link's connection, and another whenever it closes for any reason.

    `build` makes and prepares one; `lost` is told when one that was open is gone.
    """

    def __init__(
        self,
        link: Link,
        *,
        what: str,
        build: Callable[[WireConnection], Awaitable[ChannelT]],
        lost: Callable[[ChannelT], None],
    ) -> None:
        self._link = link
        self._what = what
        self._build = build
        self._lost = lost
        self._open = asyncio.Event()
        self._channel: ChannelT | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._complaint: str | None = None

    @property
    def channel(self) -> ChannelT | None:
        """The channel, while it is open."""
        return self._channel

    @property
    def is_open(self) -> bool:
        """True while there is a channel that works."""
        return self._channel is not None and not self._channel.is_closed

    async def wait_open(self) -> None:
        """Return when the channel is open."""
        await self._open.wait()

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
            try:
                with library_cancellation():
                    await self._open_and_watch(wire)
            except Exception as error:  # noqa: BLE001 - whatever ends a channel, the next one follows
                self._complain(str(error) or type(error).__name__)
            if clock() - started > _STABLE_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _open_and_watch(self, wire: WireConnection) -> None:
        async with asyncio.timeout(_OPEN_SECONDS):
            channel = await self._build(wire)
        self._channel = channel
        self._open.set()
        closing = channel.closing
        try:
            await asyncio.wait([closing])
            self._complain(closing_words(closing))
        finally:
            self._open.clear()
            self._channel = None
            self._lost(channel)
            await close_channel(channel)

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
