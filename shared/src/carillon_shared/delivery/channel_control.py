"""Obeys operators who pause a channel, and stops taking messages while no provider takes any."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from carillon_shared.broker.backoff import Backoff
from carillon_shared.consumer.source import MessageSource
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.db.transient import is_transient
from carillon_shared.domain.channels import Channel
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
_APPLY_SECONDS = 0.2
_READ = """
    SELECT paused_by, reason FROM carillon.channel_pauses WHERE channel = $1::text::carillon.channel
"""


class PauseWatch:
    """Knows whether operators have paused a channel, a second late at most.

    While the database is away, what was last known holds.
    """

    def __init__(self, pool: Pool, *, channel: Channel) -> None:
        self._pool = pool
        self._channel = channel
        self.paused = False
        self._on_change: list[Callable[[bool], None]] = []
        self._resumed = asyncio.Event()
        self._resumed.set()

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call this whenever the channel is paused or resumed."""
        self._on_change.append(callback)

    async def wait_resumed(self) -> None:
        """Return when the channel is not paused."""
        await self._resumed.wait()

    async def begin(self) -> None:
        """Look for the first time; waits for a database that is away. Raises what asyncpg raises for good."""
        backoff = Backoff()
        while True:
            if await self._look():
                return
            await asyncio.sleep(backoff.next())

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> bool:
        try:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                row = await connection.fetchrow(_READ, self._channel.value)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("pause_not_read", reason=str(error) or type(error).__name__)
            return False
        metrics.CHANNEL_PAUSED.labels(self._channel).set(row is not None)
        if (row is not None) != self.paused:
            self._change(paused=row is not None, by=row["paused_by"] if row else None)
        return True

    def _change(self, *, paused: bool, by: str | None) -> None:
        self.paused = paused
        log.info("channel_paused" if paused else "channel_resumed", channel=self._channel, by=by)
        if paused:
            self._resumed.clear()
        else:
            self._resumed.set()
        for callback in self._on_change:
            callback(paused)


class Consumption:
    """Takes messages from the sources of a channel only while `wanted` says so."""

    def __init__(
        self, sources: Sequence[MessageSource], *, channel: Channel, wanted: Callable[[], bool]
    ) -> None:
        self._sources = sources
        self._channel = channel
        self._wanted = wanted
        self._taking = True

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await self.apply()
            await asyncio.sleep(_APPLY_SECONDS)

    async def apply(self) -> None:
        """Start or stop taking messages, if that has changed."""
        wanted = self._wanted()
        if wanted == self._taking:
            return
        self._taking = wanted
        metrics.CONSUMPTION_STOPPED.labels(self._channel).set(not wanted)
        switches: list[Awaitable[None]] = [
            source.resume() if wanted else source.pause() for source in self._sources
        ]
        await asyncio.gather(*switches)
