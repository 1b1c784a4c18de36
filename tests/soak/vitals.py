"""Memory, open files and database connections of every service, and how they change."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from carillon_shared.db.pool import Pool
from support.faults.sockets import served_sockets
from support.platform import Platform

_PAGE = os.sysconf("SC_PAGE_SIZE")
_WARM_SECONDS = 30.0  # of a process's life, in which it fills its caches
_ENOUGH_SECONDS = 60.0  # less of a life says nothing about its trend
_CONNECTIONS = """
    SELECT usename AS role, count(*) AS many FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY usename
"""


@dataclass(frozen=True, slots=True)
class Vitals:
    """One process at one moment: memory in MB; open files, without the connections that clients keep."""

    at: float
    memory: float
    files: int


@dataclass(slots=True)
class Watch:
    """Looks at every service each second. Each process has a trend of its own, so samples are by process."""

    platform: Platform
    samples: dict[tuple[str, int], list[Vitals]] = field(default_factory=lambda: defaultdict(list))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(1.0)

    def look(self) -> dict[str, Vitals]:
        """Look now; returns what was seen by service."""
        seen = {}
        for name, process in list(self.platform.processes.items()):
            if (found := _vitals(process.pid)) is not None:
                self.samples[name, process.pid].append(found)
                seen[name] = found
        return seen

    def slopes(self) -> dict[str, tuple[float, float]]:
        """Return the steepest trend of each service over its long lives: MB and files a minute."""
        found: dict[str, tuple[float, float]] = {}
        for (name, _), life in self.samples.items():
            settled = [one for one in life if one.at - life[0].at > _WARM_SECONDS]
            if settled and settled[-1].at - settled[0].at >= _ENOUGH_SECONDS:
                trend = _trend(settled)
                found[name] = max(found.get(name, trend), trend)
        return found


async def connections(pool: Pool) -> Mapping[str, int]:
    """Return the open database connections by role."""
    return {row["role"]: row["many"] for row in await pool.fetch(_CONNECTIONS)}


def _vitals(pid: int) -> Vitals | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        files = len(list(Path(f"/proc/{pid}/fd").iterdir())) - served_sockets(pid)
    except OSError:
        return None  # it has ended meanwhile
    return Vitals(time.monotonic(), pages * _PAGE / 2**20, files)


def _trend(life: list[Vitals]) -> tuple[float, float]:
    """Return the least-squares slopes of memory and files, per minute."""
    times = [one.at for one in life]
    mean = sum(times) / len(times)
    spread = sum((at - mean) ** 2 for at in times)

    def slope(values: list[float]) -> float:
        middle = sum(values) / len(values)
        both = sum((at - mean) * (value - middle) for at, value in zip(times, values, strict=True))
        return 60 * both / spread

    return slope([one.memory for one in life]), slope([float(one.files) for one in life])
