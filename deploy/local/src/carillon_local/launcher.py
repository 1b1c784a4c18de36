"""Starting, ending and looking at the platform of a checkout: what ``carillon up|down|status`` call."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carillon_local.backend import Wanted, choose_backend
from carillon_local.errors import LocalError
from carillon_local.log_view import say as say_to_terminal
from carillon_local.places import Places, find_checkout, find_places
from carillon_local.processes import descendants, send_signal
from carillon_local.serving import serve
from carillon_local.state import LocalState, RunningProcess, StateFile

_UP_SECONDS = 900.0
_DOWN_SECONDS = 90.0
_POLL_SECONDS = 0.1
_COMPOSE = ("docker", "compose")


@dataclass(frozen=True, slots=True)
class Status:
    """What runs of a checkout's platform.

    Attributes:
        backend: ``local`` or ``compose``, or ``None`` when nothing was started.
        running: whether the supervisor runs (for Compose: whether it was started and not ended by us).
        ready: whether everything came up.
        urls: addresses by name, with passwords where they are needed.
        processes: whether each process runs now, by name; Compose's own command tells about its containers.
    """

    backend: str | None
    running: bool
    ready: bool
    urls: dict[str, str]
    processes: dict[str, bool]


def up(
    backend: Wanted = "auto",
    *,
    detach: bool = False,
    checkout: Path | None = None,
    say: Callable[[str], None] = say_to_terminal,
) -> Status:
    """Start the platform; when it runs already, say so and return what runs.

    Without ``detach`` the private backend runs in this process, shows all logs, and returns after a signal
    ended it.

    Raises:
        LocalError: when it cannot be started; the text tells the person what to do.
    """
    places = find_places(checkout or find_checkout(Path.cwd()))
    if status(places.checkout).running:
        say("The platform is running already")
        return status(places.checkout)
    choice = choose_backend(backend, checkout=places.checkout, environment=os.environ)
    say(f"Using the {choice.name} backend: {choice.reason}")
    if choice.name == "compose":
        _compose_up(places)
    elif detach:
        _start_in_background(places, say)
    else:
        serve(places, show_logs=True, say=say)
    return status(places.checkout)


def down(*, checkout: Path | None = None, say: Callable[[str], None] = say_to_terminal) -> bool:
    """End the platform, services first; tell whether it ran.

    Raises:
        LocalError: when Compose fails.
    """
    places = find_places(checkout or find_checkout(Path.cwd()))
    file = StateFile(places.state_file)
    state = file.read()
    if state.backend == "compose":
        _compose(places, "down")
        file.write(LocalState(ports=state.ports))
        return True
    ran = state.supervisor is not None and state.supervisor.send(signal.SIGTERM)
    if state.supervisor is not None and ran:
        say("Stopping the platform; services finish what they have begun")
        _wait_or_kill(state.supervisor, say)
    for process in state.processes.values():
        process.send(signal.SIGKILL)  # only what outlived its supervisor is left by now
    return ran


def status(checkout: Path | None = None) -> Status:
    """Return what runs."""
    places = find_places(checkout or find_checkout(Path.cwd()))
    state = StateFile(places.state_file).read()
    running = state.running or state.backend == "compose"
    return Status(
        backend=state.backend if running else None,
        running=running,
        ready=running and state.ready,
        urls=state.urls if running else {},
        processes={name: process.alive for name, process in state.processes.items()} if running else {},
    )


def _start_in_background(places: Places, say: Callable[[str], None]) -> None:
    log = places.logs / "supervisor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "carillon_local", "serve", "--checkout", str(places.checkout)],
            cwd=places.checkout,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    shown = 0
    deadline = time.monotonic() + _UP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        shown = _say_new_lines(log, shown, say)
        if status(places.checkout).ready:
            return
        time.sleep(_POLL_SECONDS)
    late = process.poll() is None
    if late:
        process.send_signal(signal.SIGTERM)
        process.wait()
    _say_new_lines(log, shown, say)
    raise LocalError(
        f"The platform did not come up{f' within {_UP_SECONDS:g} s' if late else ''} (log: {log})"
    )


def _say_new_lines(log: Path, shown: int, say: Callable[[str], None]) -> int:
    """Pass on the whole lines written since the last call and return how many were passed on in all."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    for line in lines[shown:]:
        say(line)
    return len(lines)


def _wait_or_kill(supervisor: RunningProcess, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _DOWN_SECONDS
    while supervisor.alive:
        if time.monotonic() > deadline:
            say(f"It did not end within {_DOWN_SECONDS:g} s and is killed")
            for pid in [supervisor.pid, *descendants(supervisor.pid)]:
                send_signal(pid, signal.SIGKILL)
            return
        time.sleep(_POLL_SECONDS)


def _compose_up(places: Places) -> None:
    _compose(places, "up", "--detach", "--build", "--wait")
    urls = {
        "api": f"http://{_published(places, 'api', 8080)}",
        "mock providers": f"http://{_published(places, 'mock-providers', 8025)}",
        "mock SMTP": f"smtp://{_published(places, 'mock-providers', 1025)}",
    }
    StateFile(places.state_file).write(LocalState(backend="compose", ready=True, urls=urls))


def _compose(places: Places, *arguments: str) -> None:
    code = subprocess.run([*_COMPOSE, *arguments], cwd=places.checkout, check=False).returncode
    if code != 0:
        raise LocalError(f"`{' '.join([*_COMPOSE, *arguments])}` failed with exit code {code}")


def _published(places: Places, service: str, port: int) -> str:
    """Return the address of this machine at which a container's port answers, such as 127.0.0.1:8080."""
    command = [*_COMPOSE, "port", service, str(port)]
    done = subprocess.run(command, cwd=places.checkout, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout.strip()
