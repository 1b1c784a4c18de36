"""A crowd of open streams, as the benchmark sees it: it opens, it is counted, it leaves."""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contender import ContenderError, Program, Started, running, until
from bench.listeners import Board, journeys
from bench.results import check_count
from bench.servers import Servers

_OPEN_SECONDS = 90.0
_FRAME_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_MORE_SECONDS = 0.05  # a frame too many would come right behind the others
SPARE_FILES = 500
"""That a process opens beside its streams, generously."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where streams are opened, and what the answer holds before its first frame."""

    name: str
    port: int
    opens_with: str = "\r\n\r\n"

    async def is_open(self) -> bool:
        """Tell whether somebody listens there."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True


@dataclass(frozen=True, slots=True)
class Crowd:
    """Open streams in a process of their own."""

    started: Started
    board: Board
    streams: int
    arrivals: Path | None

    def check(self) -> None:
        """Raise `ContenderError` when a stream was refused or has ended."""
        self.started.check()
        if self.board.lost:
            raise ContenderError(f"{self.started.name}: {self.board.lost} streams were refused or ended")

    def journeys(self, *, since: int, until: int) -> list[float]:
        """Return the seconds that events sent in this time (monotonic nanoseconds) took to arrive."""
        assert self.arrivals is not None
        return journeys(self.arrivals, since=since, until=until) if self.arrivals.exists() else []


def make_room(files: int) -> None:
    """Let this process, and those it starts, open so many files.

    Raises:
        ContenderError: when the system does not allow it; the text says what to do.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files += SPARE_FILES
    if soft >= files:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, hard)))
    except (OSError, ValueError) as error:
        raise ContenderError(
            f"{files} open files a process are needed and {hard} are allowed: raise the limit "
            f"(`ulimit -Hn {files}` as root), or choose fewer --streams"
        ) from error


@asynccontextmanager
async def open_crowd(
    servers: Servers, door: Door, requests: Sequence[str], *, label: str, timed: bool = False
) -> AsyncIterator[Crowd]:
    """Open a stream for each request, wait until all are open, and close them at the end of the block.

    Raises `ContenderError` when one is refused. With `timed`, the journeys of events are noted.
    """
    folder = servers.logs / f"crowd-{label}"
    folder.mkdir()
    (folder / "requests.json").write_text(json.dumps(requests), encoding="utf-8")
    arrivals = folder / "arrivals" if timed else None
    board = Board(folder / "board")
    environment = {
        "BENCH_BOARD": str(folder / "board"),
        "BENCH_REQUESTS": str(folder / "requests.json"),
        "BENCH_JOURNEYS": str(arrivals or ""),
        "BENCH_OPENS_WITH": door.opens_with,
        "BENCH_PORT": str(door.port),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    program = Program(f"{door.name} {label}", [sys.executable, "-m", "bench.listeners"], environment)
    async with running(program, folder) as started:
        crowd = Crowd(started, board, len(requests), arrivals)
        await until(lambda: _is_open(crowd), started, seconds=_OPEN_SECONDS, every=0.05)
        yield crowd
        crowd.check()


async def _is_open(crowd: Crowd) -> bool:
    crowd.check()
    return crowd.board.opened == crowd.streams


async def shown_to(crowds: Sequence[Crowd], tell: Callable[[], Awaitable[None]]) -> float:
    """Tell everybody something; return the seconds until all have it.

    Raises `CountError` unless every stream got exactly one frame.
    """
    before = sum(crowd.board.frames for crowd in crowds)
    wanted = sum(crowd.streams for crowd in crowds)
    start = time.monotonic()
    await tell()
    while sum(crowd.board.frames for crowd in crowds) < before + wanted:
        if time.monotonic() > start + _FRAME_SECONDS:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    took = time.monotonic() - start
    await asyncio.sleep(_MORE_SECONDS)
    for crowd in crowds:
        crowd.check()
    frames = sum(crowd.board.frames for crowd in crowds) - before
    check_count(crowds[0].started.name, expected=wanted, found={"frames": frames})
    return took
