"""Dies where a fault test says so: `CARILLON_CRASH_AT=relay.after_publish`, inert without it."""

import os
import signal
from functools import cache

from carillon_shared.lifecycle.crash_points import CrashPoint

CRASH_AT = "CARILLON_CRASH_AT"
CRASH_AFTER_HITS = "CARILLON_CRASH_AFTER_HITS"


class _Armed:
    def __init__(self, *, point: CrashPoint, hits: int) -> None:
        self.point = point
        self.hits_left = hits


@cache
def armed() -> _Armed | None:
    """Return what the environment asks for; read once. Raises ``ValueError`` for a name that is none."""
    name = os.environ.get(CRASH_AT)
    if not name:
        return None
    return _Armed(point=CrashPoint(name), hits=int(os.environ.get(CRASH_AFTER_HITS, "1")))


def crash_point(point: CrashPoint) -> None:
    """Kill this process, as a power cut would, if it is armed for this point (at the n-th pass)."""
    trap = armed()
    if trap is None or trap.point is not point:
        return
    trap.hits_left -= 1
    if trap.hits_left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
