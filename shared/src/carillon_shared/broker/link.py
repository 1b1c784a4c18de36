"""One connection that is kept up."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError
from aiormq.abc import AbstractConnection as WireConnection
from pamqp.common import FieldTable
from yarl import URL

from carillon_shared.broker.backoff import Backoff
from carillon_shared.broker.cancellation import heed_cancellation, library_cancellation
from carillon_shared.broker.connecting import connect
from carillon_shared.broker.errors import ConnectionLostError
from carillon_shared.telemetry import metrics

Purpose = Literal["publish", "consume"]

_BLOCK_CHECK_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
# A connection that lived this long was a good one: after its loss the pauses begin short again.
_STABLE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Link:
    """A supervised connection: connects, watches, connects again, until it is closed.

    Publishing and consuming never share one: under a memory or disk alarm the broker stops reading from
    connections that publish, and acknowledgements on them would stall too.
    """

    def __init__(
        self, url: str, *, name: str, purpose: Purpose, heartbeat: int = 15, connect_timeout: float = 10.0
    ) -> None:
        self._url = URL(url)
        if "heartbeat" not in self._url.query:
            self._url = self._url.update_query(heartbeat=str(heartbeat))
        self._properties: FieldTable = {"connection_name": f"{name}:{purpose}"}
        self._purpose = purpose
        self._connect_timeout = connect_timeout
        self._up = asyncio.Event()
        self._wire: WireConnection | None = None
        self._dropped: asyncio.Future[str] | None = None
        self._blocked = False
        self._supervisor: asyncio.Task[None] | None = None
        self._complaint: str | None = None
        self._on_change: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        """True while the connection is up."""
        return self._up.is_set()

    @property
    def blocked(self) -> bool:
        """True while the broker takes no publishes (memory or disk alarm), known to about a second."""
        return self._blocked

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call this whenever `connected` or `blocked` changes."""
        self._on_change.append(callback)

    def start(self) -> None:
        """Begin connecting, in the background."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name=f"broker-{self._purpose}")

    async def close(self) -> None:
        """Close the connection for good."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])

    async def wait_connected(self) -> None:
        """Return when the connection is up."""
        await self._up.wait()

    async def wire(self) -> WireConnection:
        """Return the connection that is up now, or else the next one."""
        while self._wire is None:
            await self._up.wait()
        return self._wire

    def recycle(self, reason: str) -> None:
        """Drop the connection, because it no longer answers; the next one may."""
        if self._dropped is not None and not self._dropped.done():
            self._dropped.set_result(reason)

    async def _supervise(self) -> None:
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            try:
                await self._connect_and_watch()
            except Exception as error:  # noqa: BLE001 - whatever ends a connection, the next one follows
                self._complain(error)
            if clock() - started > _STABLE_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _connect_and_watch(self) -> None:
        with library_cancellation():
            connection = await self._connect()
            try:
                heed_cancellation()
                reason = await self._watch(self._opened(connection))
                log.warning("broker connection lost", purpose=self._purpose, reason=reason)
            finally:
                self._closed()
                await close_quietly(connection)

    async def _connect(self) -> AbstractConnection:
        async with asyncio.timeout(self._connect_timeout):
            return await connect(self._url, properties=self._properties)

    def _opened(self, connection: AbstractConnection) -> WireConnection:
        if connection.transport is None:
            raise ConnectionLostError("closed while connecting")
        self._wire = connection.transport.connection
        self._dropped = asyncio.get_running_loop().create_future()
        self._complaint = None
        self._up.set()
        metrics.BROKER_CONNECTED.labels(self._purpose).set(1)
        metrics.BROKER_CONNECTS.labels(self._purpose).inc()
        log.info("broker connected", purpose=self._purpose)
        self._changed()
        return self._wire

    async def _watch(self, wire: WireConnection) -> str:
        closing, dropped = wire.closing, self._dropped
        ends = [closing] if dropped is None else [closing, dropped]
        while not any(end.done() for end in ends):
            await asyncio.wait(ends, timeout=_BLOCK_CHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not wire.is_closed:
                self._note_blocked(blocked=is_blocked(wire))
        if dropped is not None and dropped.done():
            return dropped.result()
        return closing_words(closing)

    def _note_blocked(self, *, blocked: bool) -> None:
        if blocked is self._blocked:
            return
        self._blocked = blocked
        metrics.BROKER_BLOCKED.labels(self._purpose).set(blocked)
        log.warning("broker blocks publishing" if blocked else "broker takes publishes again")
        self._changed()

    def _closed(self) -> None:
        was_up = self._up.is_set()
        self._up.clear()
        self._wire = self._dropped = None
        self._blocked = False
        metrics.BROKER_CONNECTED.labels(self._purpose).set(0)
        metrics.BROKER_BLOCKED.labels(self._purpose).set(0)
        if was_up:
            self._changed()

    def _complain(self, error: Exception) -> None:
        complaint = str(error) or type(error).__name__
        if complaint != self._complaint:  # the same again every few seconds helps nobody
            log.warning("broker not reachable", purpose=self._purpose, reason=complaint)
        self._complaint = complaint

    def _changed(self) -> None:
        for callback in self._on_change:
            callback()


def is_blocked(wire: WireConnection) -> bool:
    """Return whether the broker has sent `connection.blocked`.

    `ready()` returns at once unless the connection is blocked, so one step of it tells, without waiting.
    """
    waiting = wire.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True


def closing_words(closing: "asyncio.Future[object]") -> str:
    """Return why a connection or channel closed, from its `closing` future."""
    error = None if closing.cancelled() else closing.exception()
    return "closed" if error is None else str(error) or type(error).__name__


async def close_quietly(connection: AbstractConnection) -> None:
    """Close what may be broken already, in bounded time."""
    with contextlib.suppress(OSError, RuntimeError, ConnectionLostError, AMQPError), library_cancellation():
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.close()
