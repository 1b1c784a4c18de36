"""Runs a service's main function until it returns."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from carillon_shared.lifecycle.crash import armed
from carillon_shared.lifecycle.shutdown import Shutdown

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_COLLECT_AFTER = 10_000  # objects made and not freed
_EXIT_AT_ONCE = 130  # 128 + SIGINT, as shells report it

log = structlog.get_logger(__name__)


def run(main: Callable[[Shutdown], Awaitable[None]]) -> None:
    """Run `main` on uvloop. It should return soon after the `Shutdown` it is given has been requested.

    The first SIGTERM or SIGINT requests the shutdown; a second one ends the process at once with status 130.
    Raises ``ValueError`` before anything starts when `CARILLON_CRASH_AT` names no crash point.
    """
    armed()
    _spare_the_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_supervise(main))


def _spare_the_collector() -> None:
    """Look for garbage less often, and not among what the start has made: that stays until the end.

    With the interpreter's defaults a busy worker spends a fifth of its time looking through modules. What
    work leaves behind is mostly freed by its reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])


async def _supervise(main: Callable[[Shutdown], Awaitable[None]]) -> None:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, _on_signal, shutdown, number)
    try:
        await main(shutdown)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _on_signal(shutdown: Shutdown, number: signal.Signals) -> None:
    if shutdown.requested:
        os._exit(_EXIT_AT_ONCE)
    log.info("stopping", signal=number.name)
    shutdown.request()
