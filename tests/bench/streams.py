"""Open streams: S7, S8, S9, and the promise for a busy moment (`python -m bench --only streams`)."""

import asyncio
import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from subprocess import TimeoutExpired

from bench.broadcast import RunningPlatform, make_key, running_platform
from bench.contender import ContenderError
from bench.crowd import SPARE_FILES, Crowd, make_room
from bench.fan_out import Contender, at_rest, contenders, told
from bench.results import CountError
from bench.servers import Servers
from bench.stream_figures import SIGNALS, Sample
from bench.stream_journeys import (
    Way,
    busy_round,
    journeys_round,
    over_carillon,
    over_minimal_path,
    saturations,
)
from bench.workload import Workload

_ALL_SECONDS = 205.0  # everything ends by then, done or not
_FAN_OUT_SECONDS = 105.0  # after so many no further round begins
_JOURNEY_SECONDS = 170.0
_TIMES = 8  # signals in a round
_ITEMS = 2  # broadcasts in a round
_BURST = 2_000  # events at once, to find saturation
_WARM_UP_SECONDS = 1.0
_WITHOUT = ("whatsapp-worker", "email-worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    streams: int
    rounds: int
    seconds: float

    @property
    def idle(self) -> int:
        """Half as many again, for what an idle stream costs."""
        return self.streams + self.busy

    @property
    def busy(self) -> int:
        """Half of them stay open while events go to single people."""
        return self.streams // 2

    @property
    def burst(self) -> int:
        """Events at once; few when there are few streams."""
        return min(_BURST, 10 * self.streams)

    def described(self) -> dict[str, int]:
        """The sizes for the head of the tables."""
        return {
            "streams (S7)": self.streams,
            "idle streams (S8)": self.idle,
            "streams of single people (S9, busy)": self.busy,
        }


@dataclass(slots=True)
class Outcome:
    """All that was measured, and what went wrong, if anything."""

    samples: list[Sample] = field(default_factory=list)
    error: str = ""


def can_compare() -> bool:
    """Tell whether the peer that is a Python package is here."""
    return importlib.util.find_spec("sse_starlette") is not None


async def measure_streams(servers: Servers, workload: Workload, *, nginx: str, sizes: Sizes) -> Outcome:
    """Measure everything, beside the nchan of this nginx, in bounded time; keep what came before an error."""
    outcome = Outcome()
    try:
        make_room(sizes.idle)
        async with asyncio.timeout(_ALL_SECONDS):
            await _measure(servers, workload, nginx, sizes, outcome.samples)
    except TimeoutError:
        outcome.error = f"not done in {_ALL_SECONDS:g} seconds"
    except (ContenderError, CountError, TimeoutExpired) as error:
        outcome.error = str(error)
    return outcome


async def _measure(
    servers: Servers, workload: Workload, nginx: str, sizes: Sizes, samples: list[Sample]
) -> None:
    key = await make_key(workload.pool, servers, workload.tenant_id)
    settings = {
        "CARILLON_API_STREAMS": str(sizes.idle),
        "CARILLON_API_KEEP_ALIVE_SECONDS": "300",  # connections wait while others are measured
    }
    async with running_platform(servers, settings, without=_WITHOUT) as platform, AsyncExitStack() as stay:
        stage = Stage(servers, sizes, key, samples, stay)
        crowd = await stage.fan_out(platform, nginx)
        async with (
            over_carillon(crowd, port=platform.port, key=key) as carillon,
            over_minimal_path(servers, workload, streams=crowd.streams) as minimal,
        ):
            await stage.journeys(carillon, minimal)


class Stage:
    """The two halves of the scenario: many streams, then single people."""

    def __init__(
        self, servers: Servers, sizes: Sizes, key: str, samples: list[Sample], stay: AsyncExitStack
    ) -> None:
        self._servers = servers
        self._sizes = sizes
        self._key = key
        self._samples = samples
        self._stay = stay
        self._start = time.monotonic()

    async def fan_out(self, platform: RunningPlatform, nginx: str) -> Crowd:
        """Measure S7 and S8; return the crowd of Carillon's that stays when its peers have gone."""
        files = self._sizes.idle + SPARE_FILES
        async with (
            contenders(
                self._servers, platform, nginx=nginx, key=self._key, files=files, times=_TIMES
            ) as found,
            AsyncExitStack() as visits,
        ):
            present = [(one, await self._open(one, visits)) for one in found]
            telling = told(present, key=self._key, times=_ITEMS)
            tellers = await visits.enter_async_context(telling)
            for number in self._rounds(0, until=_FAN_OUT_SECONDS, what="S7"):
                for teller in tellers if number % 2 else reversed(tellers):
                    measured = await teller.round(number)
                    self._samples += measured if number else []
            return present[0][1][0]

    async def journeys(self, carillon: Way, minimal: Way) -> None:
        """Measure S9 at a quarter of the lower saturation, and the busy moment."""
        ways = [carillon, minimal]
        await saturations(ways, count=max(self._sizes.burst // 10, 1))  # warms up
        highest = await saturations(ways, count=self._sizes.burst)
        self._samples += highest
        rate, seconds = min(sample.value for sample in highest) / 4, self._sizes.seconds
        for number in self._rounds(1, until=_JOURNEY_SECONDS, what="S9"):
            self._samples += await busy_round(carillon, seconds=seconds, number=number)
            self._samples += await journeys_round(ways, rate=rate, seconds=seconds, number=number)

    async def _open(self, contender: Contender, visits: AsyncExitStack) -> list[Crowd]:
        stay = self._stay if contender.name == SIGNALS else visits
        visit = at_rest(
            self._servers, contender, streams=self._sizes.streams, stay=stay, samples=self._samples
        )
        return await visits.enter_async_context(visit)

    def _rounds(self, first: int, *, until: float, what: str) -> Iterator[int]:
        """Round 0 warms up. None begins later than `until` seconds after the start, but the first."""
        for number in range(first, self._sizes.rounds + 1):
            if number > 1 and time.monotonic() > self._start + until:
                sys.stderr.write(f"{what}: no time for more than {number - 1} rounds\n")
                return
            sys.stderr.write(
                f"{what}: {f'round {number} of {self._sizes.rounds}' if number else 'warm-up'}\n"
            )
            yield number
