"""Runs one contender as a process of its own and measures it from its first result to its last."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.accounting import Usage, usages
from carillon_local.processes import leash

_FIRST_SECONDS = 60.0
_ALL_SECONDS = 120.0
_STOP_SECONDS = 20.0
_LOOK_FOR_FIRST = 0.004
_LOOK_FOR_LAST = 0.1
_TAIL = 3000


class ContenderError(Exception):
    """A contender ended by itself, or did not get done in time."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process to measure, and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ends_with: Sequence[int] = (0,)

    def check(self) -> None:
        """Raise `ContenderError` with the end of its output when it has ended."""
        if (code := self.process.poll()) is not None:
            raise ContenderError(f"{self.name} ended with {code}: {self.tail}")

    @property
    def tail(self) -> str:
        """The end of its output."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]


@dataclass(frozen=True, slots=True)
class Measured:
    """What every part used between the first results (`before` of them) and the last."""

    before: int
    cpu: dict[str, float]
    resident: int


@dataclass(frozen=True, slots=True)
class Program:
    """A contender's command, and what its environment has beside ours."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_with: Sequence[int] = (0,)
    """What it answers SIGTERM with."""


@contextlib.asynccontextmanager
async def running(program: Program, logs: Path) -> AsyncIterator[Started]:
    """Start it; end it with SIGTERM, which must end it cleanly."""
    log = logs / (re.sub(r"\W+", "-", program.name) + ".log")
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - commands of our own; nothing else is to run now
            list(program.argv),
            env={**os.environ, **program.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=leash(signal.SIGTERM),  # noqa: PLW1509 - it ends with us, whatever ends us
        )
    started = Started(program.name, process, log, program.ends_with)
    try:
        yield started
        await _stop(started)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


async def measure(
    started: Started, servers: Mapping[str, int], *, expected: int, count: Callable[[], Awaitable[int]]
) -> Measured:
    """Wait for the first result and for the last; `count` tells how many there are.

    The process's start is not measured. Ending late is no matter: nothing costs nothing.
    """
    trees = {"contender": started.process.pid, **servers}
    await until(lambda: _reached(count, 1), started, seconds=_FIRST_SECONDS, every=_LOOK_FOR_FIRST)
    first, before = usages(trees), await count()
    await until(lambda: _reached(count, expected), started, seconds=_ALL_SECONDS, every=_LOOK_FOR_LAST)
    last = usages(trees)
    return Measured(before, _difference(first, last), last["contender"].resident)


def _difference(first: Mapping[str, Usage], last: Mapping[str, Usage]) -> dict[str, float]:
    return {name: last[name].cpu - first[name].cpu for name in first}


async def _reached(count: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await count() >= wanted


async def until(
    fact: Callable[[], Awaitable[bool]], started: Started, *, seconds: float, every: float
) -> None:
    """Look for a fact `every` so many seconds. Raises `ContenderError` when it cannot come any more."""
    deadline = time.monotonic() + seconds
    while not await fact():
        started.check()
        if time.monotonic() > deadline:
            raise ContenderError(f"{started.name} was not done in {seconds:g} s: {started.tail}")
        await asyncio.sleep(every)


async def _stop(started: Started) -> None:
    started.check()
    started.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(started.process.wait, _STOP_SECONDS)
    if code not in started.ends_with:
        raise ContenderError(f"{started.name} stopped with {code}: {started.tail}")
