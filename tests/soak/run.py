"""One soak: traffic, faults one after another, then peace, and the account of it all."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from soak.faults import healed, next_fault
from soak.scene import SERVICES, Scene, scene
from soak.vitals import Vitals, Watch, connections
from support.faults.invariants import check
from support.faults.listener import listening
from support.faults.report import Report
from support.faults.traffic import traffic

DRAIN_SECONDS = 300.0  # on a busy machine; it ends when all is at rest
RATE = 12.0  # events a second
MOST_FILES = 25  # more at rest than before the first fault
MOST_CONNECTIONS = 12  # of one service to the database: its pool, and what it opens beside that
MOST_MEGABYTES = 6.0  # a minute, over a minute's life at least

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What a soak found; `problems` is empty when all is well."""

    seed: int
    events: int = 0
    history: list[str] = field(default_factory=list)
    report: Report | None = None
    slopes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.events} events, {len(self.history)} faults"]
        lines += [f"  {line}" for line in self.history]
        lines += [
            f"  {name}: {memory:+.1f} MB and {files:+.1f} files a minute"
            for name, (memory, files) in sorted(self.slopes.items())
        ]
        lines.append(f"invariants: {self.report}")
        lines += [f"PROBLEM: {problem}" for problem in self.problems] or ["clean"]
        return "\n".join(lines)


async def soak(*, seconds: float, seed: int, logs: Path, say: Say) -> Outcome:
    """Break things for so long under traffic, mend everything, wait for rest, compare. Bounded in time."""
    outcome = Outcome(seed)
    async with scene(logs) as ground:
        watch = Watch(ground.platform)
        before = watch.look()
        watching = asyncio.create_task(watch.run(), name="vitals")
        try:
            await _storm(ground, outcome, seconds=seconds, say=say)
        finally:
            watching.cancel()
        outcome.slopes = watch.slopes()
        pool = await ground.platform.database.pool(max_size=1)
        _compare(outcome, before, watch.look(), await connections(pool))
        await pool.close()
    return outcome


async def _storm(ground: Scene, outcome: Outcome, *, seconds: float, say: Say) -> None:
    platform = ground.platform
    async with (
        traffic(platform, rate=RATE, people=12, seed=outcome.seed) as flow,
        listening(platform, flow.tenant, flow.people[:3]) as listeners,
    ):
        await flow.accepted(10)
        async with healed(ground):
            await _faults(ground, outcome, seconds=seconds, say=say)
        await flow.accepted(10, seconds=120)
        await flow.stop()
        say("mended; waiting for rest")
        outcome.report = await check(platform, flow.ledger, seconds=DRAIN_SECONDS, listeners=listeners)
        outcome.events = len(flow.ledger.accepted)
    if outcome.report.violations:
        outcome.problems.append(f"broken: {', '.join(sorted(outcome.report.broken()))}")


async def _faults(ground: Scene, outcome: Outcome, *, seconds: float, say: Say) -> None:
    source = random.Random(outcome.seed)  # noqa: S311 -- faults are no secret
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        name, fault, draw = next_fault(source)
        at = time.monotonic() - began
        try:
            done = await fault(ground, draw)
        except Exception as error:
            raise AssertionError(f"seed {outcome.seed}: {name} could not be mended") from error
        line = f"{at:6.1f} s  {done}"
        outcome.history.append(line)
        say(line)
        await _revive(ground, outcome, say)
        await asyncio.sleep(draw.seconds(0.2, 2))


async def _revive(ground: Scene, outcome: Outcome, say: Say) -> None:
    """Start again what ended by itself, as every supervisor does."""
    for name in SERVICES:
        process = ground.platform.processes.get(name)
        if process is not None and process.returncode is None:
            continue
        code = process.returncode if process is not None else None
        line = f"{name} had ended by itself ({code}), started again"
        outcome.history.append(line)
        say(line)
        with suppress(KeyError):
            ground.platform.processes.pop(name)
        await ground.platform.start(name)


def _compare(
    outcome: Outcome,
    before: Mapping[str, Vitals],
    after: Mapping[str, Vitals],
    connected: Mapping[str, int],
) -> None:
    for name in SERVICES:
        more = after[name].files - before[name].files
        if more > MOST_FILES:
            outcome.problems.append(f"{name} has {more} more open files at rest than before")
    for role, many in connected.items():
        if many > MOST_CONNECTIONS:
            outcome.problems.append(f"{role} has {many} database connections at rest")
    for name, (memory, _) in outcome.slopes.items():
        if name in SERVICES and memory > MOST_MEGABYTES:
            outcome.problems.append(f"{name} grew by {memory:.1f} MB a minute")
