"""A channel worker with a bug: a message about one delivery kills its process, as native code would.

    DOOMED_BY=<delivery id> python -m support.doomed_worker carillon_email_worker.__main__

It is started again each time, as a supervisor does, until SIGTERM. Lines in its output count the deaths.
"""

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any

from carillon_shared.consumer import handling
from carillon_shared.contracts import codec
from carillon_shared.contracts.messages import Message
from carillon_shared.delivery import intake


class Supervisor:
    """Starts the worker again and again. Without a fork, most of the time would go into importing."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._child: int | None = None
        self._stopping = False

    def run(self) -> None:
        """Return when asked to stop."""
        signal.signal(signal.SIGTERM, self._stop)
        deaths = 0
        while not self._stopping:
            self._start()
            if self._child is None:
                return
            _, status = os.waitpid(self._child, 0)
            self._child = None
            deaths += os.WIFSIGNALED(status)
            print(f"deaths: {deaths}", flush=True)  # noqa: T201 -- for the log of the test

    def _start(self) -> None:
        """Fork while nobody can ask us to stop, so that the request reaches one of the two for certain."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._child = None if self._stopping else os.fork()
        if self._child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            self._worker.main()
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = True
        if self._child:
            os.kill(self._child, number)


def _make_deadly(guilty: bytes) -> None:
    def decode(message_type: str | None, body: bytes) -> Message:
        if guilty in body:
            os.kill(os.getpid(), signal.SIGKILL)
        return codec.decode(message_type, body)

    for reader in (handling, intake):
        vars(reader)["decode"] = decode


if __name__ == "__main__":
    _make_deadly(os.environ["DOOMED_BY"].encode())
    Supervisor(importlib.import_module(sys.argv[1])).run()
