"""The clock of one service's machine, put forward and back while it runs.

async with wrong_clock(platform, "email-worker", tmp_path, seconds=3600) as clock:
    clock.set(-3600)
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.platform import Platform

_HOOK = Path(__file__).parents[1] / "host_clock"


@dataclass(frozen=True, slots=True)
class WrongClock:
    """By how much a service's clock is wrong."""

    file: Path

    def set(self, seconds: float) -> None:
        """Let it be ahead by so many seconds, or behind; the service sees it at once."""
        draft = self.file.with_suffix(".draft")
        draft.write_text(f"{seconds}")
        draft.rename(self.file)


@asynccontextmanager
async def wrong_clock(
    platform: Platform, name: str, folder: Path, *, seconds: float
) -> AsyncIterator[WrongClock]:
    """Restart a service with a clock that is wrong; afterwards restart it with the right one."""
    before = dict(platform.extra.get(name, {}))
    clock = WrongClock(folder / f"clock-of-{name}")
    clock.set(seconds)
    path = [str(_HOOK), *filter(None, [platform.environment(name).get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(path), "WRONG_CLOCK_FILE": str(clock.file)}
    platform.extra[name] = before | own
    try:
        await platform.restart(name)
        yield clock
    finally:
        platform.extra[name] = before
        if name in platform.processes:
            await platform.restart(name)
