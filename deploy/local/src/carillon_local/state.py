"""What is remembered between starts: ports, addresses and the processes that run."""

import signal
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from carillon_local.accounts import Account
from carillon_local.processes import send_signal, start_mark


class RunningProcess(BaseModel):
    """A process and the mark of its start: another that gets the same id later is never taken for it."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "RunningProcess":
        """Describe a process that runs now."""
        return cls(pid=pid, started=start_mark(pid) or "")

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return bool(self.started) and start_mark(self.pid) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal if it still runs; tell whether it did."""
        if not self.alive:
            return False
        send_signal(self.pid, number)
        return True


class LocalState(BaseModel):
    """The content of ``.carillon/local.json``."""

    version: int = 1
    backend: str | None = None
    ready: bool = False
    ports: dict[str, int] = Field(default_factory=dict)
    urls: dict[str, str] = Field(default_factory=dict)
    supervisor: RunningProcess | None = None
    processes: dict[str, RunningProcess] = Field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return self.supervisor is not None and self.supervisor.alive


@dataclass(frozen=True, slots=True)
class StateFile:
    """Reads and writes the state, readable by its owner only, because addresses hold passwords."""

    path: Path

    def read(self) -> LocalState:
        """Return what was written last; a file that is missing or cannot be understood counts as empty."""
        try:
            return LocalState.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return LocalState()

    def write(self, state: LocalState) -> None:
        """Replace the file in one step."""
        Account().write_private(self.path, state.model_dump_json(indent=2) + "\n")
