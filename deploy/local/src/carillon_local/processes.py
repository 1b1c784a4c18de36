"""Server processes: started bound to their parent, watched, stopped, and never mistaken for another's."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carillon_local.accounts import Account
from carillon_local.errors import LocalError

_PR_SET_PDEATHSIG = 1  # prctl(2)
_POLL_SECONDS = 0.02
_FREEZE_SECONDS = 10.0
_STILL = frozenset("TtZX")  # proc(5): stopped, traced, zombie, dead


@dataclass(frozen=True, slots=True)
class Command:
    """How to run one process: what, with which environment, as whom, and what asks it to end."""

    argv: Sequence[str]
    env: Mapping[str, str]
    account: Account = field(default_factory=Account)
    stop_signal: signal.Signals = signal.SIGTERM
    folder: Path | None = None


def leash(stop_signal: signal.Signals) -> Callable[[], None]:
    """Return a function for the child, run before its program: it ends when the thread that started it ends.

    Linux binds this to the *thread*, so start such children from a thread that lives as long as they should:
    the main one. Elsewhere than on Linux it does nothing.
    """
    if sys.platform != "linux":
        return _do_nothing
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the bond was made
            os._exit(1)

    return bind


def _do_nothing() -> None:
    """Leave the child as it is."""


def spawn(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """Start a process that writes to ``log``, in its own session, so that Ctrl-C reaches only us."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command.argv,
            env=dict(command.env),
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=command.account.uid,
            group=command.account.gid,
            extra_groups=None if command.account.uid is None else [],
            preexec_fn=leash(command.stop_signal),  # noqa: PLW1509 - one prepared system call
        )


class ServerProcess:
    """One server we started, from its start to its end."""

    def __init__(self, *, name: str, command: Command, log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            LocalError: when it does not run.
        """
        if self._process is None:
            raise LocalError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def begin(self) -> None:
        """Start it, without waiting until it is ready."""
        if self.running:
            raise LocalError(f"{self.name} is running already")
        self._process = spawn(self.command, self.log)

    def wait_ready(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until ``is_ready`` answers true.

        Raises:
            LocalError: when the process ends first, or the time is over; the text holds its last log lines.
        """
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.running:
                raise LocalError(f"{self.name} ended while starting\n{last_lines(self.log)}")
            if time.monotonic() > deadline:
                raise LocalError(f"{self.name} was not ready after {seconds:.0f} s\n{last_lines(self.log)}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *, seconds: float = 30, number: signal.Signals | None = None) -> None:
        """Ask it to end and wait; kill it with everything below it when it does not end in time.

        `number` asks in another way than the command's own stop signal.
        """
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGCONT)  # a paused process would never see the request
            self._process.send_signal(number or self.command.stop_signal)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it and its children at once, as a power cut would (``kill -9``)."""
        if self._process is None:
            return
        self._signal_tree(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze it and its children: connections stay open, nothing answers. Returns when all stand."""
        freeze(self.pid)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal_tree(signal.SIGCONT)

    def _signal_tree(self, number: signal.Signals) -> None:
        below = descendants(self.pid)
        for pid in [self.pid, *below]:
            send_signal(pid, number)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def freeze(pid: int) -> None:
    """Stop a process and all below it (SIGSTOP), and return when they really stand still.

    The signal takes effect when a process is next scheduled. Children may be born until then, so the tree is
    looked at again until it holds nothing that runs.

    Raises:
        LocalError: when something in it still runs after 10 s.
    """
    deadline = time.monotonic() + _FREEZE_SECONDS
    while moving := [one for one in [pid, *descendants(pid)] if not _stands_still(one)]:
        if time.monotonic() > deadline:
            raise LocalError(f"processes {moving} did not stop")
        for one in moving:
            send_signal(one, signal.SIGSTOP)
        time.sleep(_POLL_SECONDS / 10)


def _stands_still(pid: int) -> bool:
    """Tell whether a process is stopped or over (Linux; elsewhere always, once it was asked)."""
    if sys.platform != "linux":
        send_signal(pid, signal.SIGSTOP)
        return True
    try:
        tasks = [path.read_text(errors="replace") for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread or the process ended between two looks
        return not Path(f"/proc/{pid}").exists()
    return all(text.rpartition(")")[2].split()[0] in _STILL for text in tasks)


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one, nearest first (Linux; elsewhere none)."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for listing in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(word) for word in listing.read_text().split()]
    except OSError:
        return found
    return found


def start_mark(pid: int) -> str | None:
    """Return a text that tells two processes with the same id apart, or ``None`` when there is none now.

    On Linux it is the start time in clock ticks since boot (proc(5), field 22), elsewhere what ``ps`` tells.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if sys.platform == "linux" else _start_mark_from_ps(pid)
    fields = line.rpartition(")")[2].split()  # the name in parentheses may hold anything
    state, ticks = fields[0], fields[19]
    return None if state in {"Z", "X"} else ticks


def _start_mark_from_ps(pid: int) -> str | None:
    result = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or None


def last_lines(log: Path, count: int = 15) -> str:
    """Return the last lines of a log file, each indented, for an error text."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        lines = []
    return "\n".join(f"  {line}" for line in lines) or "  (it wrote nothing)"
