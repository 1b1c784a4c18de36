"""S9: how long an event for one person is on its way from the POST to that person's stream."""

import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.contender import Program, running, until
from bench.crowd import Crowd, Door, open_crowd
from bench.floors.minimal_path import TABLES
from bench.ground import DATABASE
from bench.posting import Posted, Poster, open_poster
from bench.results import CountError
from bench.servers import Servers
from bench.stream_figures import BUSY, JOURNEY, MINIMAL, P50, P99, SATURATION, Sample, percentiles
from bench.stream_requests import to_path
from bench.workload import Workload

BUSY_RATE = 200.0
"""Events a second of the scenario that has a limit of its own."""

_CONNECTIONS = 64
_START_SECONDS = 30.0
_ARRIVE_SECONDS = 30.0
_LOOK_SECONDS = 0.005
_STRIDE = 7_919  # a prime: neighbours in time are no neighbours in the database


@dataclass(frozen=True, slots=True)
class Way:
    """One way from a POST to a crowd."""

    name: str
    poster: Poster
    crowd: Crowd

    def body(self, number: int, sent: int) -> bytes:
        """Return an event for one of the people, with the time it is sent at."""
        person = number * _STRIDE % self.crowd.streams + 1
        data = {"title": "Ticket 4711 was answered", "body": "Please have a look at it. " * 6, "sent": sent}
        event = {"type": "message", "data": data, "audience": {"users": [f"user-{person}"]}}
        return json.dumps(event | {"channels": ["inapp"]}).encode()

    async def saturation(self, count: int) -> float:
        """Send as many at once; return how many a second arrived, until the last frame."""
        before, start = self.crowd.board.frames, time.monotonic()
        await self.poster.at_once(self.body, count=count)
        await self._arrived(before + count)
        return count / (time.monotonic() - start)

    async def at_rate(self, rate: float, *, seconds: float, name: str, number: int) -> list[Sample]:
        """Send at a rate; return percentiles. Raises `CountError` unless each event arrived once."""
        before = self.crowd.board.frames
        posted = await self.poster.steadily(self.body, rate=rate, seconds=seconds)
        await self._arrived(before + posted.count)
        p50, p99 = percentiles(self._journeys(posted))
        return [
            Sample(contender=name, figure=P50, round=number, value=p50),
            Sample(contender=name, figure=P99, round=number, value=p99),
        ]

    def _journeys(self, posted: Posted) -> list[float]:
        found = self.crowd.journeys(since=posted.first, until=posted.last)
        if len(found) != posted.count:
            raise CountError(f"{self.name}: {posted.count} events, {len(found)} arrived")
        return found

    async def _arrived(self, frames: int) -> None:
        async def fact() -> bool:
            self.crowd.check()
            return self.crowd.board.frames >= frames

        await until(fact, self.crowd.started, seconds=_ARRIVE_SECONDS, every=_LOOK_SECONDS)


@asynccontextmanager
async def over_carillon(crowd: Crowd, *, port: int, key: str) -> AsyncIterator[Way]:
    """Through every service, to streams that are open already."""
    headers = [f"Authorization: Bearer {key}"]
    async with open_poster(port, "/v1/events", headers=headers, connections=_CONNECTIONS) as poster:
        yield Way(JOURNEY, poster, crowd)


@asynccontextmanager
async def over_minimal_path(servers: Servers, workload: Workload, *, streams: int) -> AsyncIterator[Way]:
    """Through the three processes of the minimal path, to as many streams."""
    await workload.pool.execute(TABLES)
    door = Door("minimal path", servers.ports.pick())
    async with AsyncExitStack() as stack:
        # The web server is the last to end: the others tell it what they have done.
        for role in ("web", "plan", "feed"):
            started = await stack.enter_async_context(running(_program(servers, role, door), servers.logs))
            if role == "web":
                await until(door.is_open, started, seconds=_START_SECONDS, every=0.05)
        requests = [to_path(f"/stream/user-{number}") for number in range(1, streams + 1)]
        opens_with = Door(door.name, door.port, ": open\n\n")
        crowd = await stack.enter_async_context(
            open_crowd(servers, opens_with, requests, label="minimal", timed=True)
        )
        poster = await stack.enter_async_context(open_poster(door.port, "/events", connections=_CONNECTIONS))
        yield Way(MINIMAL, poster, crowd)


async def saturations(ways: Sequence[Way], *, count: int) -> list[Sample]:
    """Return how many events a second each way brings through."""
    return [
        Sample(contender=way.name, figure=SATURATION, round=1, value=await way.saturation(count))
        for way in ways
    ]


async def journeys_round(ways: Sequence[Way], *, rate: float, seconds: float, number: int) -> list[Sample]:
    """Send events both ways at a quarter of saturation, in an order that turns."""
    samples: list[Sample] = []
    for way in ways if number % 2 else reversed(ways):
        samples += await way.at_rate(rate, seconds=seconds, name=way.name, number=number)
    return samples


async def busy_round(way: Way, *, seconds: float, number: int) -> list[Sample]:
    """Send as many events a second as the platform promises to bring through in time."""
    return await way.at_rate(BUSY_RATE, seconds=seconds, name=BUSY, number=number)


def _program(servers: Servers, role: str, door: Door) -> Program:
    environment = {
        "BENCH_ROLE": role,
        "BENCH_PORT": str(door.port),
        "BENCH_DATABASE_URL": servers.database_url("carillon_owner", DATABASE),
        "BENCH_BROKER_URL": servers.rabbitmq.amqp_url,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    argv = [sys.executable, "-m", "bench.floors.minimal_path"]
    return Program(f"{MINIMAL} {role}", argv, environment, ends_with=[0, -signal.SIGTERM])
