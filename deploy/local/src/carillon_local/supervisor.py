"""Runs a set of child processes in stages and ends them in the opposite order."""

import asyncio
import signal
from collections.abc import Callable, Sequence

from carillon_local.children import Child, ChildSpec
from carillon_local.errors import LocalError
from carillon_local.log_view import LogView
from carillon_local.processes import Command, last_lines
from carillon_local.side_by_side import side_by_side

_STEP_SECONDS = 300.0


class Supervisor:
    """Keeps child processes running until it is told to stop.

    It waits for signals and for processes only; while nothing happens it uses no processor time. Use it in
    the main thread: the children's lives are bound to the thread that started them, and signals arrive there.

    Args:
        view: takes the children's output.
        say: tells the person at the terminal what happens.
        on_change: called with name and process id of all running children whenever one was started.
    """

    def __init__(
        self,
        *,
        view: LogView,
        say: Callable[[str], None],
        on_change: Callable[[dict[str, int]], None] = lambda _: None,
    ) -> None:
        self._view = view
        self._say = say
        self._on_change = on_change
        self._stages: list[list[Child]] = []
        self._stop = asyncio.Event()

    def handle_signals(self) -> None:
        """Stop at the first SIGINT, SIGTERM or SIGHUP, kill at the second."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)

    async def start(self, specs: Sequence[ChildSpec]) -> None:
        """Start a stage, side by side, and wait until all of it is ready.

        Raises:
            LocalError: when one does not get ready; the others are left running for ``stop``.
        """
        stage = [Child(spec, view=self._view, say=self._say, on_start=self._report_change) for spec in specs]
        self._stages.append(stage)
        for child in stage:
            child.begin()
        await side_by_side(*(child.wait_ready() for child in stage))

    async def run_step(self, name: str, command: Command) -> None:
        """Run a command to its end.

        Raises:
            LocalError: when it fails or takes longer than five minutes; the text holds its last lines.
        """
        log = self._view.path(name)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                env=dict(command.env),
                cwd=command.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                async with asyncio.timeout(_STEP_SECONDS):
                    code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if code != 0:
            raise LocalError(f"The step {name!r} failed with exit code {code}:\n{last_lines(log)}")

    async def until_stopped(self) -> None:
        """Wait until a signal or ``request_stop`` asks for the end."""
        await self._stop.wait()

    def request_stop(self) -> None:
        """Ask for the end, as a first signal does."""
        self._stop.set()

    async def stop(self) -> None:
        """End the children, the last stage first, each stage side by side."""
        for stage in reversed(self._stages):
            await asyncio.gather(*(child.stop() for child in stage))
        self._stages.clear()
        self._view.close()

    def _on_signal(self) -> None:
        if not self._stop.is_set():
            self._say("Stopping; services finish what they have begun (press Ctrl-C again to kill)")
            self._stop.set()
            return
        self._say("Killing what still runs")
        for stage in self._stages:
            for child in stage:
                child.kill()

    def _report_change(self) -> None:
        children = [child for stage in self._stages for child in stage]
        self._on_change({child.spec.name: child.pid for child in children if child.pid is not None})
