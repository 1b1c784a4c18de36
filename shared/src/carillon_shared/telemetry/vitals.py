"""Measures a process from within: is its event loop late, are its database connections all in use?"""

import asyncio
from typing import Protocol

from carillon_shared.telemetry import metrics

_SECONDS = 1.0


class Connections(Protocol):
    """The part of a connection pool that is measured."""

    def get_size(self) -> int:
        """Return how many connections are open."""
        ...

    def get_idle_size(self) -> int:
        """Return how many of them nobody uses."""
        ...


async def measure_process(pool: Connections) -> None:
    """Measure every second until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + _SECONDS
        await asyncio.sleep(_SECONDS)
        metrics.LOOP_LAG_SECONDS.observe(max(clock() - due, 0.0))
        idle = pool.get_idle_size()
        metrics.DATABASE_CONNECTIONS.labels("idle").set(idle)
        metrics.DATABASE_CONNECTIONS.labels("busy").set(pool.get_size() - idle)
