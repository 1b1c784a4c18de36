"""One supervised child process: started, watched, started again when it crashes, and ended."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from carillon_local.errors import LocalError
from carillon_local.log_view import LineSplitter, LogView
from carillon_local.processes import Command, descendants, last_lines, leash, send_signal
from carillon_local.readiness import answers_ok

_STEADY_SECONDS = 60.0
_ENDS_BEFORE_GIVING_UP = 3
_UNREADY_STOP_SECONDS = 10.0
_READY_POLL_SECONDS = 0.1
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run and how to tell that it is ready.

    Attributes:
        name: short, unique; names the log file.
        command: what to run.
        ready_url: answers 200 when it is ready, or ``None``.
        ready: a quick check used where there is no such address; it may block for up to two seconds.
        ready_seconds: how long it may take to get ready.
        stop_seconds: how long it may take to end when asked to.
        shown: whether its output belongs into the shared view, or only into its file.
    """

    name: str
    command: Command
    ready_url: str | None = None
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 30.0
    shown: bool = True


def restart_delay(ends: int) -> float:
    """Return the seconds to wait after the given number of ends in a row: 1, 2, 4, 8, 16, then 30."""
    return min(2.0 ** max(ends - 1, 0), 30.0)


class Child:
    """A child process that is kept running until it is stopped."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        view: LogView,
        say: Callable[[str], None],
        on_start: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.pid: int | None = None
        self._view = view
        self._say = say
        self._on_start = on_start
        self._ends = 0
        self._ready = False
        self._last_end = ""
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start it, and again whenever it ends by itself."""
        self._task = asyncio.create_task(self._keep_running(), name=f"child {self.spec.name}")

    async def wait_ready(self) -> None:
        """Wait until it is ready.

        Raises:
            LocalError: when it is not in time, or keeps ending; the text holds its last log lines.
        """
        deadline = time.monotonic() + self.spec.ready_seconds
        while self.pid is None or not await self._is_ready():
            if self._ends >= _ENDS_BEFORE_GIVING_UP:
                raise self._failure(f"ended {self._ends} times while starting, {self._last_end}")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {self.spec.ready_seconds:g} s{self._end_so_far()}")
            await asyncio.sleep(_READY_POLL_SECONDS)
        self._ready = True

    async def stop(self) -> None:
        """Ask it to end and wait; kill it when it does not end in time."""
        self._stopping.set()
        if self._task is None:
            return
        if self.pid is not None:
            send_signal(self.pid, self.spec.command.stop_signal)
        # A server in the middle of its start may not listen to signals yet, and nobody uses it.
        seconds = (
            self.spec.stop_seconds if self._ready else min(self.spec.stop_seconds, _UNREADY_STOP_SECONDS)
        )
        _, waiting = await asyncio.wait([self._task], timeout=seconds)
        if waiting:
            self._say(f"{self.spec.name} did not end within {seconds:g} s and is killed")
            self.kill()
            await self._task

    def kill(self) -> None:
        """End it and everything below it at once."""
        self._stopping.set()
        if self.pid is not None:
            for pid in [self.pid, *descendants(self.pid)]:
                send_signal(pid, signal.SIGKILL)

    async def _keep_running(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            self._last_end = _describe(await self._run_once())
            if self._stopping.is_set():
                return
            steady = self._ready and time.monotonic() - started >= _STEADY_SECONDS
            self._ends = 1 if steady else self._ends + 1
            delay = restart_delay(self._ends)
            self._say(f"{self.spec.name} ended {self._last_end}; it is started again in {delay:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _run_once(self) -> int:
        process = await self._spawn()
        self.pid = process.pid
        self._on_start()
        if self._stopping.is_set():  # asked to end while it was being started
            send_signal(process.pid, self.spec.command.stop_signal)
        try:
            if process.stdout is not None:
                await self._copy_output(process.stdout)
            return await process.wait()
        finally:
            self.pid = None

    async def _spawn(self) -> asyncio.subprocess.Process:
        """Start the process from this thread, which is the one its life is bound to."""
        command = self.spec.command
        shown = self.spec.shown and self._view.shown
        output = asyncio.subprocess.PIPE if shown else self._view.file(self.spec.name)
        return await asyncio.create_subprocess_exec(
            *command.argv,
            env=dict(command.env),
            cwd=command.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            user=command.account.uid,
            group=command.account.gid,
            extra_groups=None if command.account.uid is None else [],
            preexec_fn=leash(command.stop_signal),
        )

    async def _copy_output(self, output: asyncio.StreamReader) -> None:
        lines = LineSplitter(lambda line: self._view.line(self.spec.name, line))
        while data := await output.read(_READ_BYTES):
            lines.feed(data)
        lines.end()

    async def _is_ready(self) -> bool:
        if self.spec.ready_url is not None:
            return await answers_ok(self.spec.ready_url)
        return self.spec.ready is None or await asyncio.to_thread(self.spec.ready)

    def _end_so_far(self) -> str:
        return f" (it ended {self._last_end})" if self._last_end else ""

    def _failure(self, what: str) -> LocalError:
        log = self._view.path(self.spec.name)
        return LocalError(f"{self.spec.name} {what}. Its last lines, from {log}:\n{last_lines(log)}")


def _describe(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    return f"by {signal.Signals(-code).name}"
