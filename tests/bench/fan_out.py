"""S7 and S8: one message to very many open streams, and what such a stream costs while nothing comes.

All contenders run side by side, each with its streams; in a round they are told things one after the other,
in an order that turns.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.accounting import usages
from bench.broadcast import RunningPlatform
from bench.contender import Program, Started, running, until
from bench.crowd import Crowd, Door, open_crowd, shown_to
from bench.nchan import nchan_program
from bench.posting import open_poster
from bench.servers import Servers
from bench.stream_figures import (
    FRAMES,
    IDLE,
    IDLE_NCHAN,
    IDLE_SSE_STARLETTE,
    ITEMS,
    LAST,
    MEMORY,
    NCHAN,
    SIGNALS,
    SSE_STARLETTE,
    Sample,
)
from bench.stream_requests import TOPIC, to_carillon, to_path

SIGNAL = {"name": "job.progress", "data": {"current": 40, "total": 100, "message": "Importing. " * 12}}
"""About 200 bytes on each stream."""

_FRAME = json.dumps(
    SIGNAL | {"topic": TOPIC}, separators=(",", ":")
).encode()  # the data of Carillon's own frame
_ITEM = {
    "type": "message",
    "data": {"title": "Maintenance tonight", "body": "From 22:00 UTC the help desk is away. " * 4},
    "audience": {"everyone": True},
    "channels": ["inapp"],
}
_START_SECONDS = 30.0
_SETTLE_SECONDS = 3.0
_SPACING_SECONDS = 0.1  # signals of one name come no quicker on one stream
_TICK = 0.01  # seconds; less CPU time is not measured
_OPENED_BY_CARILLON = "event: ready\ndata: "


@dataclass(frozen=True, slots=True)
class Contender:
    """A server with a door, what its process tree is, and how everybody at the door is told something."""

    name: str
    idle: str
    door: Door
    started: Started
    request: Callable[[int, str], str]  # of a person by number, who follows this topic, or none
    tell: Callable[[], Awaitable[None]]
    times: int  # in a round

    def resident(self) -> int:
        """Bytes of memory now."""
        return usages({"contender": self.started.process.pid})["contender"].resident

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return usages({"contender": self.started.process.pid})["contender"].cpu


@dataclass(frozen=True, slots=True)
class Told:
    """One kind of message to one contender's crowds."""

    name: str
    contender: Contender
    crowds: Sequence[Crowd]
    tell: Callable[[], Awaitable[None]]
    times: int

    async def round(self, number: int) -> list[Sample]:
        """Tell everybody so many times. Raises `CountError` unless each stream has each message once."""
        before, took = self.contender.cpu(), []
        for _ in range(self.times):
            took.append(await shown_to(self.crowds, self.tell))
            await asyncio.sleep(_SPACING_SECONDS)
        used = max(self.contender.cpu() - before, _TICK)
        frames = self.times * sum(crowd.streams for crowd in self.crowds)
        return [
            Sample(contender=self.name, figure=FRAMES, round=number, value=frames / used),
            Sample(contender=self.name, figure=LAST, round=number, value=median(took) * 1e3),
        ]


@asynccontextmanager
async def contenders(
    servers: Servers, platform: RunningPlatform, *, nginx: str, key: str, files: int, times: int
) -> AsyncIterator[list[Contender]]:
    """Start Carillon's peers beside it. sse-starlette is told a quarter as often: enough for its rate."""
    async with AsyncExitStack() as stack:
        yield [
            await _carillon(stack, platform, key=key, secret=servers.secrets.api_token_secret, times=times),
            await _nchan(stack, servers, nginx, files=files, times=times),
            await _sse_starlette(stack, servers, times=max(times // 4, 1)),
        ]


async def _carillon(
    stack: AsyncExitStack, platform: RunningPlatform, *, key: str, secret: str, times: int
) -> Contender:
    api = next(one for one in platform.started if one.name == "api")
    door = Door("Carillon", platform.port, _OPENED_BY_CARILLON)
    credentials = [f"Authorization: Bearer {key}"]
    poster = await stack.enter_async_context(open_poster(door.port, "/v1/signals", headers=credentials))
    body = json.dumps(SIGNAL | {"topics": [TOPIC]}).encode()
    return Contender(
        name=SIGNALS,
        idle=IDLE,
        door=door,
        started=api,
        request=lambda number, topic: to_carillon(number, secret=secret, topic=topic),
        tell=lambda: poster.post(body),
        times=times,
    )


async def _nchan(stack: AsyncExitStack, servers: Servers, nginx: str, *, files: int, times: int) -> Contender:
    folder = servers.logs / "nchan"
    folder.mkdir()
    port = servers.ports.pick()
    program = nchan_program(NCHAN, nginx, folder=folder, port=port, files=files)
    return await _plain(stack, servers, program, Door(NCHAN, port), idle=IDLE_NCHAN, times=times)


async def _sse_starlette(stack: AsyncExitStack, servers: Servers, *, times: int) -> Contender:
    port = servers.ports.pick()
    environment = {"BENCH_PORT": str(port), "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-m", "bench.floors.sse_starlette_app"]
    program = Program(SSE_STARLETTE, argv, environment, ends_with=[0, -signal.SIGTERM])
    return await _plain(
        stack, servers, program, Door(SSE_STARLETTE, port), idle=IDLE_SSE_STARLETTE, times=times
    )


async def _plain(
    stack: AsyncExitStack, servers: Servers, program: Program, door: Door, *, idle: str, times: int
) -> Contender:
    """Start a server that knows topics and nobody's name."""
    started = await stack.enter_async_context(running(program, servers.logs))
    await until(door.is_open, started, seconds=_START_SECONDS, every=0.05)
    headers = ["X-EventSource-Event: signal"]  # nchan's name for what the others put into the frame
    poster = await stack.enter_async_context(open_poster(door.port, f"/publish/{TOPIC}", headers=headers))
    return Contender(
        name=program.name,
        idle=idle,
        door=door,
        started=started,
        request=lambda _, topic: to_path(f"/stream/{topic or 'silence'}"),
        tell=lambda: poster.post(_FRAME),
        times=times,
    )


@asynccontextmanager
async def at_rest(
    servers: Servers, contender: Contender, *, streams: int, stay: AsyncExitStack, samples: list[Sample]
) -> AsyncIterator[list[Crowd]]:
    """Open half as many streams again as `streams`, note what each costs in memory, and close those again.

    Gives the two crowds that stay, the first of them timed and open as long as `stay`.
    """
    half = streams // 2
    people = [range(1, half + 1), range(half + 1, streams + 1)]
    before, start = contender.resident(), time.monotonic()
    requests = [[contender.request(number, TOPIC) for number in some] for some in people]
    silent = [contender.request(number, "") for number in people[0]]
    label = contender.door.name.split(" ")[0]
    first = await stay.enter_async_context(
        open_crowd(servers, contender.door, requests[0], label=f"{label}-1", timed=True)
    )
    async with open_crowd(servers, contender.door, requests[1], label=f"{label}-2") as second:
        async with open_crowd(servers, contender.door, silent, label=f"{label}-3") as third:
            sys.stderr.write(f"{contender.name}: opened in {time.monotonic() - start:.1f} s\n")
            await asyncio.sleep(_SETTLE_SECONDS)
            everybody = sum(crowd.streams for crowd in (first, second, third))
            each = (contender.resident() - before) / everybody
            samples.append(Sample(contender=contender.idle, figure=MEMORY, round=1, value=each))
        yield [first, second]


@asynccontextmanager
async def told(
    found: Sequence[tuple[Contender, Sequence[Crowd]]], *, key: str, times: int
) -> AsyncIterator[list[Told]]:
    """What is compared: a signal from each contender, and an item in each feed from the first, Carillon."""
    everybody = [Told(one.name, one, crowds, one.tell, one.times) for one, crowds in found]
    carillon, crowds = found[0]
    headers = [f"Authorization: Bearer {key}"]
    body = json.dumps(_ITEM).encode()
    async with open_poster(carillon.door.port, "/v1/events", headers=headers) as poster:
        yield [*everybody, Told(ITEMS, carillon, crowds, lambda: poster.post(body), times)]
