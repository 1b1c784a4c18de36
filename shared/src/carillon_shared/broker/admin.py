"""A connection for looking after the topology: waits for the broker, survives refusals."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import aio_pika
import structlog
from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractConnection as WireConnection
from aiormq.channel import Channel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from yarl import URL

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.cancellation import heed_cancellation, library_cancellation
from carillon_shared.broker.channels import close_channel, free_number, open_on
from carillon_shared.broker.connecting import connect
from carillon_shared.broker.errors import BrokerError
from carillon_shared.broker.link import close_quietly

_ATTEMPT_SECONDS = 10.0
_CALL_SECONDS = 30.0

log = structlog.get_logger(__name__)

ReplyT = TypeVar("ReplyT")


class BrokerUnreachableError(BrokerError):
    """The broker did not answer in time, or refuses the user."""


class NotFoundError(BrokerError):
    """There is no such exchange or queue."""


class DifferentError(BrokerError):
    """It exists with another type or other arguments; the broker's own words are in the message."""


class NotAllowedError(BrokerError):
    """This user may not do that."""


class Admin:
    """Makes calls that may be refused. The broker closes the channel then, so the next call opens another."""

    def __init__(self, wire: WireConnection) -> None:
        self._wire = wire
        self._channel: Channel | None = None

    async def call(self, action: Callable[[Channel], Awaitable[ReplyT]]) -> ReplyT:
        """Do one thing on a channel. Raises `BrokerError`, of the kinds above where it is one of them."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                with library_cancellation():
                    reply = await action(await self._open())
                    heed_cancellation()
                    return reply
        except ChannelNotFoundEntity as error:
            raise NotFoundError(str(error)) from error
        except ChannelPreconditionFailed as error:
            raise DifferentError(str(error)) from error
        except ChannelAccessRefused as error:
            raise NotAllowedError(str(error)) from error
        except (
            AMQPError,
            TimeoutError,
            RuntimeError,
        ) as error:  # `RuntimeError`: the connection went meanwhile
            raise BrokerError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await close_channel(self._channel)

    async def _open(self) -> Channel:
        if self._channel is None or self._channel.is_closed:
            self._channel = await open_on(
                Channel(self._wire, free_number(self._wire), publisher_confirms=False)
            )
        return self._channel


@asynccontextmanager
async def administer(url: str, *, wait: float) -> AsyncIterator[Admin]:
    """Connect, for as long as the context lasts, trying for up to `wait` seconds.

    Raises `BrokerUnreachableError` when that was in vain.
    """
    connection = await _connect(URL(url), wait)
    try:
        if connection.transport is None:
            raise BrokerUnreachableError("the connection was closed at once")
        admin = Admin(connection.transport.connection)
        try:
            yield admin
        finally:
            await admin.close()
    finally:
        await close_quietly(connection)


async def _connect(url: URL, wait: float) -> aio_pika.abc.AbstractConnection:
    loop = asyncio.get_running_loop()
    deadline, backoff, told = loop.time() + wait, Backoff(longest=2.0), ""
    while True:
        try:
            with library_cancellation():
                async with asyncio.timeout(_ATTEMPT_SECONDS):
                    return await connect(url, properties={"connection_name": "carillon-topology"})
        except (OSError, AMQPError, BrokerError) as error:
            reason = str(error) or type(error).__name__
            if loop.time() >= deadline:
                place = url.with_user(None).with_password(None)
                raise BrokerUnreachableError(f"no broker at {place}: {reason}") from error
            if reason != told:
                log.info("waiting for the broker", reason=reason)
            told = reason
        await asyncio.sleep(backoff.next())
