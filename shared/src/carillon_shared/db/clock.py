"""The database's clock, as one process knows it."""

import asyncio
from datetime import datetime, timedelta

import structlog

from carillon_shared.clock import Clock, SystemClock
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import DATABASE_ERRORS
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 30.0
_UNKNOWN_SECONDS = 1.0
_LONGEST_LOOK = 1.0  # the answer may be half as old as it took


class DatabaseClock:
    """The database's time, carried on from one look to the next by the machine's monotonic clock.

    Machines' clocks differ, and are set while services run. What one process writes down as a moment and
    another compares is therefore the database's time everywhere: due times, expiry, the age of a message.
    Until the first look it is the machine's.
    """

    def __init__(self, pool: Pool, *, machine: Clock | None = None) -> None:
        self._pool = pool
        self._machine = machine or SystemClock()
        self._known: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        if self._known is None:
            return self._machine.now()
        moment, at = self._known
        return moment + timedelta(seconds=self._machine.monotonic() - at)

    def monotonic(self) -> float:
        """Return seconds that never go backwards, for measuring durations."""
        return self._machine.monotonic()

    async def look(self) -> None:
        """Ask the database for its time. Raises what the driver raises."""
        began = self._machine.monotonic()
        moment: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
        took = self._machine.monotonic() - began
        if self._known is None or took <= _LONGEST_LOOK:
            self._known = moment, began + took / 2
            metrics.CLOCK_SKEW.set((self._machine.now() - self.now()).total_seconds())

    async def run(self) -> None:
        """Look every half minute until cancelled."""
        while True:
            try:
                await self.look()
            except DATABASE_ERRORS as error:
                log.warning("database_clock_not_read", reason=str(error) or type(error).__name__)
            await asyncio.sleep(_UNKNOWN_SECONDS if self._known is None else _LOOK_SECONDS)
