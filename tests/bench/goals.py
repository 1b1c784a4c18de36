"""What the platform promises itself, as ratios to an anchor of the same run."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Run, Spread, ratios, spread_of


@dataclass(frozen=True, slots=True)
class Goal:
    """`contender` reaches at least `at_least` times the rate of `anchor`."""

    scenario: str
    contender: str
    anchor: str
    at_least: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and the ratios measured for it. It is met when the lower quartile reaches it."""

    goal: Goal
    ratio: Spread

    @property
    def met(self) -> bool:
        """True when three rounds of four reached the goal."""
        return self.ratio.low >= self.goal.at_least


CARILLON_SINGLE = "Carillon, one delivery a message"
CARILLON_BROADCAST = "Carillon, a broadcast from end to end"
USUAL_PRODUCT = "FastAPI, SQLAlchemy and Celery, the same"
CARILLON_CHUNKS = "Carillon, chunks of 200"
FLOOR = "hand-batched floor"
CELERY = "Celery"
CARILLON_INTAKE = "Carillon, POST /v1/events"
NO_DATABASE = "the same route, no database"

GOALS = (
    Goal("S1a", CARILLON_SINGLE, FLOOR, 0.4),
    Goal("S1a", CARILLON_SINGLE, CELERY, 4),
    Goal("S1b", CARILLON_CHUNKS, FLOOR, 1.5),
    Goal("S3", CARILLON_BROADCAST, USUAL_PRODUCT, 6),
    Goal("S4", CARILLON_INTAKE, NO_DATABASE, 0.4),
)


IDLE_CPU = 0.05
"""Share of one core that the whole platform with its servers may use while nobody uses it."""

IDLE_RESIDENT = 120 * 1024 * 1024
"""Bytes of memory that each service may hold then; the servers are not ours to judge."""

FAN_OUT_GROWTH = 50 * 1024 * 1024
"""Bytes by which the dispatcher may grow, however many people an event is for."""


def verdicts(runs: Sequence[Run], goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Return how the goals stand, as far as these runs say anything about them."""
    measured = [(goal, ratios(runs, goal.contender, goal.anchor)) for goal in goals]
    return [Verdict(goal, spread_of(values)) for goal, values in measured if values]
