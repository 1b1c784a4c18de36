"""What one run of one contender measured, and how runs are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles


class CountError(Exception):
    """A contender lost or doubled something: its figures mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One contender in one round: `items` done in `seconds`.

    `cpu` holds the seconds of CPU time each part (contender, broker, database) used for them, `resident` the
    contender's memory in bytes at the end.
    """

    contender: str
    round: int
    items: int
    seconds: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    resident: int = 0

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.items / self.seconds

    def cpu_us(self, part: str | None = None) -> float:
        """Microseconds of CPU time per item: of one part, or (None) of all."""
        seconds = sum(self.cpu.values()) if part is None else self.cpu[part]
        return seconds * 1e6 / self.items


@dataclass(frozen=True, slots=True)
class Resting:
    """One process tree while nothing happens: share of one core, and bytes in memory."""

    name: str
    cpu: float
    resident: int


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the quartiles around it."""

    low: float
    median: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """Return median and quartiles of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high)


def ratios(runs: Sequence[Run], contender: str, anchor: str) -> list[float]:
    """Return, for each round that both ran in, how many times the anchor's rate the contender reached."""
    rates = {(run.contender, run.round): run.rate for run in runs}
    rounds = sorted({run.round for run in runs})
    return [
        rates[contender, number] / rates[anchor, number]
        for number in rounds
        if (contender, number) in rates and (anchor, number) in rates
    ]


def check_count(contender: str, *, expected: int, found: Mapping[str, int]) -> None:
    """Raise `CountError` unless every count is exactly the expected one."""
    wrong = {what: count for what, count in found.items() if count != expected}
    if wrong:
        raise CountError(f"{contender}: expected {expected} of each, found {wrong}")


def check_empty(contender: str, queue: str, messages: int) -> None:
    """Raise `CountError` unless nothing is left in the queue: what was not acknowledged came back to it."""
    if messages:
        raise CountError(f"{contender}: {messages} messages of {queue} were not acknowledged")


def check_accepted(contender: str, *, answered: int, failed: int, stored: int, connections: int) -> None:
    """Raise `CountError` unless every answered request is stored, and none more than were still open."""
    open_at_the_end = stored - answered
    if failed or not 0 <= open_at_the_end <= connections:
        raise CountError(f"{contender}: {answered} answered, {failed} failed, {stored} stored")
