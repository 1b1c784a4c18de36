"""Runs when a service of a test starts: its machine's clock is wrong by as many seconds as a file says.

On PYTHONPATH, with `WRONG_CLOCK_FILE` naming the file; see `support.faults.clocks`. Only the time of day
is wrong, as on a real machine that is set: what measures durations goes on.
"""

import os
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import time_machine

_LOOK_SECONDS = 0.02


class _WrongClock:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._traveller = time_machine.travel(time.time(), tick=True).start()
        self._wrong_by = 0.0

    def look(self) -> None:
        with suppress(ValueError):  # half written
            wanted = float(self._file.read_text())
            self._traveller.shift(timedelta(seconds=wanted - self._wrong_by))
            self._wrong_by = wanted

    def follow(self) -> None:
        while self._file.exists():
            time.sleep(_LOOK_SECONDS)
            self.look()


def _begin() -> None:
    clock = _WrongClock(Path(os.environ["WRONG_CLOCK_FILE"]))
    clock.look()
    threading.Thread(target=clock.follow, daemon=True).start()


if "WRONG_CLOCK_FILE" in os.environ:
    _begin()
