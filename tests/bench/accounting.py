"""CPU time and memory of processes with all their children, from Linux's /proc (see proc(5))."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and its descendants have used so far.

    `cpu` in seconds, including descendants that have ended and been waited for; `resident` in bytes now,
    with memory that processes share counted once for each of them.
    """

    cpu: float
    resident: int


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    cpu: float


def usages(roots: Mapping[str, int]) -> dict[str, Usage]:
    """Return the usage of each named process tree; one that has ended used nothing."""
    processes = _processes()
    children: dict[int, list[int]] = defaultdict(list)
    for pid, process in processes.items():
        children[process.parent].append(pid)
    return {name: _usage(tree_of(root, children), processes) for name, root in roots.items()}


def tree_of(root: int, children: Mapping[int, Iterable[int]]) -> list[int]:
    """Return a process and all its descendants."""
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def cpu_of(stat: str) -> float:
    """Return the CPU seconds in a line of /proc/<pid>/stat: own, and of children waited for."""
    return sum(int(ticks) for ticks in _fields(stat)[11:15]) / _TICKS


def _fields(stat: str) -> list[str]:
    """Return the fields from the third on: the second, the name, may hold anything."""
    return stat.rpartition(")")[2].split()


def _processes() -> dict[int, _Process]:
    found = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (stat := _read(folder / "stat")):
            found[int(folder.name)] = _Process(int(_fields(stat)[1]), cpu_of(stat))
    return found


def _usage(tree: list[int], processes: Mapping[int, _Process]) -> Usage:
    known = [pid for pid in tree if pid in processes]
    return Usage(sum(processes[pid].cpu for pid in known), sum(_resident(pid) for pid in known))


def _resident(pid: int) -> int:
    fields = _read(_PROC / str(pid) / "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended meanwhile
        return ""
