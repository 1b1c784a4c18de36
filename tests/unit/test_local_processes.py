"""A frozen tree of processes really stands still when the call returns."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from carillon_local.processes import Command, ServerProcess, descendants
from support.waiting import wait_until

# A parent whose two children, and its own thread, never rest.
BUSY = """
import os, threading
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()
for _ in range(2):
    if os.fork() == 0:
        break
spin()
"""


def _states(pid: int) -> set[str]:
    texts = [Path(f"/proc/{one}/stat").read_text(encoding="utf-8") for one in [pid, *descendants(pid)]]
    return {text.rpartition(")")[2].split()[0] for text in texts}


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[ServerProcess]:
    command = Command(argv=[sys.executable, "-W", "ignore", "-c", BUSY], env={})
    process = ServerProcess(name="busy", command=command, log=tmp_path / "log")
    process.begin()
    wait_until(lambda: len(descendants(process.pid)) == 2, seconds=10, what="two children")
    yield process
    process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_paused_tree_stands_still_when_the_call_returns(busy: ServerProcess) -> None:
    for _ in range(10):
        busy.pause()
        assert _states(busy.pid) == {"T"}
        busy.resume()
        wait_until(lambda: "T" not in _states(busy.pid), seconds=10, what="the tree to go on")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_has_ended_needs_no_pause(busy: ServerProcess) -> None:
    for child in descendants(busy.pid):
        os.kill(child, signal.SIGKILL)
    busy.pause()
    assert _states(busy.pid) <= {"T", "Z"}
