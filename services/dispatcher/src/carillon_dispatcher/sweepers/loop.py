"""Runs a sweep again and again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from carillon_shared.db.transient import is_transient
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry import metrics

log = structlog.get_logger(__name__)

_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Sweep:
    """Something to do every `interval` seconds.

    `once` returns how many it dealt with; when that is at least `full`, there may be more, and it runs again
    at once.
    """

    name: str
    interval: float
    once: Callable[[], Awaitable[int]]
    full: int


async def keep_sweeping(sweep: Sweep, shutdown: Shutdown) -> None:
    """Sweep until the shutdown is requested. An error ends this round only."""
    while not shutdown.requested:
        found = await _once(sweep)
        if found < sweep.full:
            # Jitter keeps several dispatchers from asking at the same moment.
            await _pause(sweep.interval * random.uniform(1 - _JITTER, 1 + _JITTER), shutdown)  # noqa: S311 - no secret


async def _once(sweep: Sweep) -> int:
    try:
        return await sweep.once()
    except Exception as error:
        metrics.SWEEP_FAILURES.labels(sweep.name).inc()
        if is_transient(error):
            log.warning("sweep failed", sweep=sweep.name, reason=str(error) or type(error).__name__)
        else:
            log.exception("sweep failed", sweep=sweep.name)
        return 0


async def _pause(seconds: float, shutdown: Shutdown) -> None:
    try:
        async with asyncio.timeout(seconds):
            await shutdown.wait()
    except TimeoutError:
        return
