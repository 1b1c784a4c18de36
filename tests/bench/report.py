"""What the figures look like on paper."""

import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from statistics import median
from typing import Any

from bench.goals import FAN_OUT_GROWTH, IDLE_CPU, IDLE_RESIDENT, Verdict, verdicts
from bench.large import Large
from bench.results import Resting, Run, spread_of

_MARKS = "<!-- {}: begin -->", "<!-- {}: end -->"
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and on what the figures were measured."""

    date: str
    commit: str
    machine: str
    python: str
    load: float  # runnable processes beside us, one-minute average before the start

    def __str__(self) -> str:
        return (
            f"{self.date}, commit {self.commit}, {self.machine}, Python {self.python}, "
            f"load average before the start {self.load:.1f}."
        )


def surroundings(checkout: Path, load: float) -> Surroundings:
    """Describe this machine and this checkout."""
    return Surroundings(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=_git(checkout, "rev-parse", "--short", "HEAD") + _changes(checkout),
        machine=f"{cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=load,
    )


def markdown(where: Surroundings, runs: Sequence[Run], resting: Sequence[Resting] = ()) -> str:
    """Return the tables of figures and goals."""
    tables = [*_figures(runs), "", *_goals(verdicts(runs))] if runs else []
    return "\n".join([str(where), "", *tables, *(["", *_idle(resting)] if resting else [])])


def as_json(where: Surroundings, runs: Sequence[Run], resting: Sequence[Resting] = ()) -> dict[str, Any]:
    """Return everything that was measured, and how the goals stand."""
    return {
        "surroundings": asdict(where),
        "runs": [asdict(run) for run in runs],
        "idle": [asdict(one) for one in resting],
        "goals": [asdict(verdict) | {"met": verdict.met} for verdict in verdicts(runs)],
    }


def replace_figures(page: str, figures: str, *, name: str = "figures") -> str:
    """Return the page with what stands between these marks replaced. Raises ``ValueError`` without marks."""
    first, last = (mark.format(name) for mark in _MARKS)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"the page has no {first} ... {last}")
    return f"{before}{first}\n\n{figures}\n\n{last}{after}"


def large_table(where: Surroundings, large: Large) -> str:
    """Return the figures of one large broadcast."""
    rows = [
        ("people", f"{large.people:,}", ""),
        ("until all was planned and published", f"{large.dispatched:.0f} s", ""),
        ("until the last delivery was recorded", f"{large.delivered:.0f} s", ""),
        ("deliveries/s", f"{large.rate:,.0f}", ""),
        ("the database grew by", f"{large.room / _MEGABYTE:,.0f} MB", ""),
        *((f"{name} grew by", f"{grown / _MEGABYTE:.0f} MB", "") for name, grown in large.growth.items()),
        ("the dispatcher is bounded", _yes(large.is_bounded), f"< {FAN_OUT_GROWTH // _MEGABYTE} MB"),
    ]
    head = [["what", "measured", "goal"], ["---", "---:", "---"]]
    return "\n".join([str(where), "", *(_row(row) for row in [*head, *rows])])


def _figures(runs: Sequence[Run]) -> Iterator[str]:
    parts = sorted({part for run in runs for part in run.cpu}, key=["contender", "broker", "database"].index)
    cells = ["contender", "rounds", "items/s (quartiles)", *(f"us CPU: {part}" for part in parts)]
    yield _row([*cells, "us CPU: all", "resident MB"])
    yield _row(["---", *(["---:"] * (len(parts) + 4))])
    for name in dict.fromkeys(run.contender for run in runs):
        yield _row(_figure_cells(name, [run for run in runs if run.contender == name], parts))


def _figure_cells(name: str, runs: Sequence[Run], parts: Sequence[str]) -> list[str]:
    rate = spread_of([run.rate for run in runs])
    cpu = [f"{median(run.cpu_us(part) for run in runs):.0f}" for part in parts]
    total = f"{median(run.cpu_us() for run in runs):.0f}"
    resident = f"{median(run.resident for run in runs) / _MEGABYTE:.0f}"
    rates = f"{rate.median:,.0f} ({rate.low:,.0f}-{rate.high:,.0f})"
    return [name, str(len(runs)), rates, *cpu, total, resident]


def _goals(found: Sequence[Verdict]) -> Iterator[str]:
    yield _row(["scenario", "contender", "anchor", "ratio (quartiles)", "goal", "met"])
    yield _row(["---", "---", "---", "---:", "---:", "---"])
    for verdict in found:
        goal, ratio = verdict.goal, verdict.ratio
        values = f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
        cells = [goal.scenario, goal.contender, goal.anchor, values, f"{goal.at_least:g}"]
        yield _row([*cells, _yes(verdict.met)])


def _idle(resting: Sequence[Resting]) -> Iterator[str]:
    yield _row(["at rest", "% of a core", "resident MB", "goal", "met"])
    yield _row(["---", "---:", "---:", "---", "---"])
    servers = {"broker", "database"}
    for one in resting:
        goal = "-" if one.name in servers else f"< {IDLE_RESIDENT // _MEGABYTE} MB"
        met = "-" if one.name in servers else _yes(one.resident < IDLE_RESIDENT)
        yield _row([one.name, f"{one.cpu:.1%}", f"{one.resident / _MEGABYTE:.0f}", goal, met])
    total = sum(one.cpu for one in resting)
    memory = sum(one.resident for one in resting) / _MEGABYTE
    yield _row(["all", f"{total:.1%}", f"{memory:.0f}", f"< {IDLE_CPU:.0%}", _yes(total < IDLE_CPU)])


def _yes(fact: bool) -> str:  # noqa: FBT001 - its only parameter
    return "yes" if fact else "no"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _changes(checkout: Path) -> str:
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no", "shared", "services")
    return " with changes" if changed else ""


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - arguments of our own
    return result.stdout.strip() if result.returncode == 0 else "unknown"
