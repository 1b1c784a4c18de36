"""What was measured on open streams, what is wanted of it, and what that looks like on paper.

Here less is often better, so each goal says which side of it is meant.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any, Literal

from bench.report import Surroundings
from bench.results import Spread, spread_of

Figure = Literal["frames a CPU second", "last frame, ms", "bytes a stream", "p50, ms", "p99, ms", "events/s"]

FRAMES: Figure = "frames a CPU second"
LAST: Figure = "last frame, ms"
MEMORY: Figure = "bytes a stream"
P50: Figure = "p50, ms"
P99: Figure = "p99, ms"
SATURATION: Figure = "events/s"

SIGNALS = "Carillon, a signal to a topic"
ITEMS = "Carillon, an item in every feed"
NCHAN = "nchan"
SSE_STARLETTE = "sse-starlette on uvicorn"
IDLE = "Carillon, idle"
IDLE_SSE_STARLETTE = "sse-starlette on uvicorn, idle"
IDLE_NCHAN = "nchan, idle"
JOURNEY = "Carillon, POST to stream"
MINIMAL = "minimal path, POST to stream"
BUSY = "Carillon, 200 events/s to single people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One figure of one contender in one round."""

    contender: str
    figure: Figure
    round: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A figure of `contender`, or its ratio to that of `anchor` in the same round, keeps to a limit."""

    scenario: str
    figure: Figure
    contender: str
    anchor: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, measured: Spread) -> bool:
        """Tell whether three rounds of four keep to it."""
        high_enough = self.at_least is None or measured.low >= self.at_least
        return high_enough and (self.at_most is None or measured.high <= self.at_most)

    def __str__(self) -> str:
        limits = ((">=", self.at_least), ("<=", self.at_most))
        return " and ".join(f"{sign} {limit:,g}" for sign, limit in limits if limit is not None)


BOUNDS = (
    Bound(scenario="S7a", figure=FRAMES, contender=SIGNALS, anchor=NCHAN, at_least=0.5),
    Bound(scenario="S7a", figure=FRAMES, contender=SIGNALS, anchor=SSE_STARLETTE, at_least=2),
    Bound(scenario="S7b", figure=FRAMES, contender=ITEMS, anchor=SIGNALS, at_least=0.5),
    Bound(scenario="S8", figure=MEMORY, contender=IDLE, anchor=IDLE_SSE_STARLETTE, at_most=0.35),
    Bound(scenario="S8", figure=MEMORY, contender=IDLE, at_most=16 * 1024),
    Bound(scenario="S9", figure=P50, contender=JOURNEY, anchor=MINIMAL, at_most=1.3),
    Bound(scenario="S9", figure=P99, contender=JOURNEY, anchor=MINIMAL, at_most=1.5),
    Bound(scenario="busy", figure=P99, contender=BUSY, at_most=250),
)
"""The platform's own aims, the first of two steps each; docs/benchmarks.md tells of the second."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A bound and what was measured for it."""

    bound: Bound
    measured: Spread

    @property
    def met(self) -> bool:
        """True when three rounds of four keep to it."""
        return self.bound.holds(self.measured)


def judged(samples: Sequence[Sample], bounds: Sequence[Bound] = BOUNDS) -> list[Judged]:
    """Return how the bounds stand, as far as these samples say anything about them."""
    found = [(bound, _measured(samples, bound)) for bound in bounds]
    return [Judged(bound, spread_of(values)) for bound, values in found if values]


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds, of at least two values in seconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1e3, cuts[98] * 1e3


def streams_table(where: Surroundings, told: Mapping[str, int], samples: Sequence[Sample]) -> str:
    """Return the tables; `told` are the sizes of this run."""
    sizes = ", ".join(f"{count:,} {what}" for what, count in told.items())
    return "\n".join([str(where), "", f"{sizes}.", "", *_figures(samples), "", *_bounds(judged(samples))])


def streams_json(where: Surroundings, told: Mapping[str, int], samples: Sequence[Sample]) -> dict[str, Any]:
    """Return everything that was measured, and how the bounds stand."""
    return {
        "surroundings": asdict(where),
        "sizes": dict(told),
        "samples": [asdict(sample) for sample in samples],
        "goals": [asdict(one) | {"met": one.met} for one in judged(samples)],
    }


def _measured(samples: Sequence[Sample], bound: Bound) -> list[float]:
    ours = _by_round(samples, bound.contender, bound.figure)
    if bound.anchor is None:
        return list(ours.values())
    theirs = _by_round(samples, bound.anchor, bound.figure)
    return [value / theirs[number] for number, value in ours.items() if number in theirs]


def _by_round(samples: Sequence[Sample], contender: str, figure: str) -> dict[int, float]:
    return {
        sample.round: sample.value
        for sample in samples
        if (sample.contender, sample.figure) == (contender, figure)
    }


def _figures(samples: Sequence[Sample]) -> Iterator[str]:
    yield "| contender | figure | rounds | median (quartiles) |"
    yield "| --- | --- | ---: | ---: |"
    for contender, figure in dict.fromkeys((sample.contender, sample.figure) for sample in samples):
        values = list(_by_round(samples, contender, figure).values())
        yield f"| {contender} | {figure} | {len(values)} | {_spread(spread_of(values))} |"


def _bounds(found: Sequence[Judged]) -> Iterator[str]:
    yield "| scenario | figure | contender | anchor | measured (quartiles) | goal | met |"
    yield "| --- | --- | --- | --- | ---: | ---: | --- |"
    for one in found:
        bound = one.bound
        cells = [bound.scenario, bound.figure, bound.contender, bound.anchor or "-"]
        cells += [_spread(one.measured), str(bound), "yes" if one.met else "no"]
        yield f"| {' | '.join(cells)} |"


def _spread(spread: Spread) -> str:
    return f"{_number(spread.median)} ({_number(spread.low)}-{_number(spread.high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
