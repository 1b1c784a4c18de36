"""Sweeps run in their interval, at once while there is more, and through errors."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from carillon_dispatcher.sweepers.loop import Sweep, keep_sweeping
from carillon_shared.lifecycle import Shutdown
from carillon_shared.telemetry import metrics


def _counting(results: list[int | Exception], shutdown: Shutdown) -> Callable[[], Awaitable[int]]:
    """Return a sweep that ends the loop after its last result."""

    async def once() -> int:
        result = results.pop(0)
        if not results:
            shutdown.request()
        if isinstance(result, Exception):
            raise result
        return result

    return once


@pytest.mark.timeout(5)
async def test_it_runs_again_at_once_while_there_is_more() -> None:
    shutdown = Shutdown()
    results: list[int | Exception] = [10, 10, 12, 10]
    await keep_sweeping(Sweep("s", 3600, _counting(results, shutdown), full=10), shutdown)
    assert results == []


@pytest.mark.timeout(5)
async def test_a_stop_ends_the_pause() -> None:
    shutdown = Shutdown()
    swept = asyncio.Event()

    async def once() -> int:
        swept.set()
        return 9

    loop = asyncio.create_task(keep_sweeping(Sweep("s", 3600, once, full=10), shutdown))
    await swept.wait()
    shutdown.request()
    await loop


@pytest.mark.timeout(5)
@pytest.mark.parametrize("error", [ConnectionResetError("the database is away"), ValueError("a bug")])
async def test_an_error_ends_only_its_round(error: Exception) -> None:
    shutdown = Shutdown()
    results: list[int | Exception] = [error, 0]
    failed = metrics.SWEEP_FAILURES.labels("broken")
    before = failed._value.get()
    await keep_sweeping(Sweep("broken", 0.001, _counting(results, shutdown), full=10), shutdown)
    assert results == []
    assert failed._value.get() == before + 1
