"""The supervisor, with small Python programs as its children."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from carillon_local import children
from carillon_local.children import ChildSpec, restart_delay
from carillon_local.errors import LocalError
from carillon_local.log_view import LogView
from carillon_local.processes import Command, start_mark
from carillon_local.readiness import answers_ok
from carillon_local.supervisor import Supervisor
from support.waiting import eventually, wait_until

# Writes its name when it starts and again when it is asked to end.
_POLITE = """
import signal, sys
name, notes = sys.argv[1:]
def note(text):
    with open(notes, "a") as file:
        file.write(f"{name} {text}\\n")
signal.signal(signal.SIGTERM, lambda *_: (note("ended"), sys.exit(0)))
note("started")
signal.pause()
"""
_CRASHING = """
import sys
with open(sys.argv[1], "a") as file:
    file.write("started\\n")
print("no settings were found", flush=True)
sys.exit(3)
"""
_STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ignoring", flush=True)
while True:
    signal.pause()
"""
_SUPERVISED = """
import asyncio, sys
from pathlib import Path
from carillon_local.children import ChildSpec
from carillon_local.log_view import LogView
from carillon_local.processes import Command
from carillon_local.supervisor import Supervisor

async def main():
    view = LogView(folder=Path(sys.argv[1]), stream=None, names=[])
    tell = lambda children: print(*children.values(), flush=True)
    supervisor = Supervisor(view=view, say=print, on_change=tell)
    command = Command(argv=[sys.executable, "-c", "import signal; signal.pause()"], env={})
    await supervisor.start([ChildSpec(name="sleeper", command=command)])
    await supervisor.until_stopped()

asyncio.run(main())
"""


class Bench:
    """A supervisor with its files and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.said: list[str] = []
        self.running: dict[str, int] = {}
        view = LogView(folder=folder, stream=None, names=[])
        self.supervisor = Supervisor(view=view, say=self.said.append, on_change=self.running.update)

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    def polite(self, name: str) -> ChildSpec:
        started = f"{name} started"
        return _child(name, _POLITE, name, str(self.notes), ready=lambda: started in self.noted())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _child(name: str, program: str, *arguments: str, **options: object) -> ChildSpec:
    command = Command(argv=[sys.executable, "-c", program, *arguments], env={"PATH": os.environ["PATH"]})
    return ChildSpec(name=name, command=command, **options)  # type: ignore[arg-type] # few names, used below only


@pytest.mark.parametrize(("ends", "seconds"), [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (50, 30)])
def test_each_crash_in_a_row_doubles_the_wait_up_to_half_a_minute(ends: int, seconds: float) -> None:
    assert restart_delay(ends) == seconds


async def test_children_end_in_the_opposite_order_of_their_stages(bench: Bench) -> None:
    await bench.supervisor.start([bench.polite("server")])
    await bench.supervisor.start([bench.polite("api"), bench.polite("worker")])
    await bench.supervisor.stop()
    ended = [line for line in bench.noted() if line.endswith("ended")]
    assert ended[-1] == "server ended"
    assert sorted(ended[:-1]) == ["api ended", "worker ended"]


async def test_a_child_that_crashed_is_started_again(bench: Bench) -> None:
    await bench.supervisor.start([bench.polite("worker")])
    first = bench.running["worker"]
    os.kill(first, signal.SIGKILL)

    async def started_twice() -> bool:
        return bench.noted().count("worker started") == 2

    await eventually(started_twice, seconds=10, what="the second start")
    assert bench.running["worker"] != first
    assert bench.said == ["worker ended by SIGKILL; it is started again in 1 s"]
    await bench.supervisor.stop()
    assert bench.noted().count("worker ended") == 1


async def test_a_child_that_is_not_ready_in_time_is_named_with_its_last_lines(bench: Bench) -> None:
    with pytest.raises(LocalError) as caught:
        await bench.supervisor.start([_child("worker", _STUBBORN, ready=lambda: False, ready_seconds=1)])
    bench.supervisor._on_signal()
    bench.supervisor._on_signal()
    await bench.supervisor.stop()
    assert "worker was not ready after 1 s" in str(caught.value)
    assert "  ignoring" in str(caught.value)
    assert str(bench.folder / "worker.log") in str(caught.value)


async def test_a_child_that_keeps_ending_fails_the_start_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "restart_delay", lambda _: 0.0)
    with pytest.raises(
        LocalError, match=r"worker ended \d+ times while starting, with exit code 3"
    ) as caught:
        await bench.supervisor.start([_child("worker", _CRASHING, str(bench.notes), ready=lambda: False)])
    await bench.supervisor.stop()
    assert "  no settings were found" in str(caught.value)


async def test_the_second_signal_kills_what_does_not_end(bench: Bench) -> None:
    log = bench.folder / "worker.log"
    await bench.supervisor.start([_child("worker", _STUBBORN, ready=lambda: b"ignoring" in log.read_bytes())])
    pid = bench.running["worker"]
    bench.supervisor._on_signal()
    ending = asyncio.create_task(bench.supervisor.stop())
    await asyncio.sleep(0)
    bench.supervisor._on_signal()
    async with asyncio.timeout(10):
        await ending
    assert start_mark(pid) is None


async def test_a_child_that_does_not_end_in_its_time_is_killed(bench: Bench) -> None:
    log = bench.folder / "worker.log"
    spec = _child("worker", _STUBBORN, ready=lambda: b"ignoring" in log.read_bytes(), stop_seconds=0.2)
    await bench.supervisor.start([spec])
    pid = bench.running["worker"]
    await bench.supervisor.stop()
    assert start_mark(pid) is None
    assert bench.said == ["worker did not end within 0.2 s and is killed"]


async def test_a_step_that_fails_tells_why(bench: Bench) -> None:
    command = Command(argv=[sys.executable, "-c", "print('no such table'); raise SystemExit(5)"], env={})
    with pytest.raises(LocalError, match="'migrate' failed with exit code 5:\n  no such table"):
        await bench.supervisor.run_step("migrate", command)


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _SUPERVISED, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as supervisor:  # noqa: S603 - our own
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert start_mark(child) is not None
        supervisor.kill()
    wait_until(lambda: start_mark(child) is None, seconds=10, what="the end of the child")


@pytest.mark.parametrize(("answer", "ready"), [(b"200 OK", True), (b"503 Service Unavailable", False)])
async def test_ready_means_status_200(answer: bytes, *, ready: bool) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await answers_ok(f"http://127.0.0.1:{port}/readyz") is ready


async def test_nobody_listening_is_not_ready() -> None:
    assert await answers_ok("http://127.0.0.1:1/readyz") is False
