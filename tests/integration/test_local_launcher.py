"""The launcher in a checkout of its own: real servers, migration and topology, stand-ins for services."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from carillon_local.launcher import Status, down, status
from carillon_local.places import find_places
from carillon_local.platform import SERVICES
from carillon_local.processes import start_mark
from carillon_local.readiness import answers_ok
from carillon_local.state import LocalState, StateFile
from support.waiting import wait_until

_STAND_IN = """
import http.server, os, threading

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

for name in ("CARILLON_API_PORT", "CARILLON_METRICS_PORT"):
    if name in os.environ:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ[name])), Ready)
        threading.Thread(target=server.serve_forever).start()
"""


class Checkout:
    """A checkout that only its owner may enter."""

    def __init__(self, folder: Path, modules: Path) -> None:
        self.folder = folder
        self._modules = modules

    def start(self) -> str:
        """Start the platform in the background, wait for it, and return what was said."""
        argv = [sys.executable, "-m", "carillon_local", "up", "--backend", "local", "--detach"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")}
        result = subprocess.run(  # noqa: S603 - our own program
            [*argv, "--checkout", str(self.folder)],
            env={**env, "PYTHONPATH": str(self._modules)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def state(self) -> LocalState:
        return StateFile(find_places(self.folder).state_file).read()

    def status(self) -> Status:
        return status(self.folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    for service in SERVICES:
        package = tmp_path / "modules" / service.module
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(_STAND_IN)
    folder = tmp_path / "checkout"
    folder.mkdir(mode=0o700)
    yield Checkout(folder, tmp_path / "modules")
    down(checkout=folder, say=_say_nothing)
    shutil.rmtree(find_places(folder).servers)


def _say_nothing(_: str) -> None:
    """Take a sentence that nobody needs here."""


async def test_the_platform_comes_up_survives_a_kill_and_goes_down_whole(checkout: Checkout) -> None:
    checkout.start()
    found = checkout.status()
    assert found.ready
    assert all(found.processes.values())
    assert await answers_ok(f"{found.urls['api']}/readyz")
    await _write("CREATE TABLE public.kept (n int)", found.urls["superuser_database"])

    assert "running already" in checkout.start()

    first = checkout.state()
    assert first.supervisor is not None
    first.supervisor.send(signal.SIGKILL)
    pids = [process.pid for process in first.processes.values()]
    wait_until(lambda: not any(map(start_mark, pids)), seconds=30, what="the end of all children")
    assert not checkout.status().running

    checkout.start()
    again = checkout.state()
    await _write("DROP TABLE public.kept", again.urls["superuser_database"])
    assert {name: again.ports[name] for name in ("postgres", "amqp")} == {
        name: first.ports[name] for name in ("postgres", "amqp")
    }
    assert again.supervisor is not None

    assert down(checkout=checkout.folder, say=_say_nothing)
    left = [process.pid for process in (again.supervisor, *again.processes.values())]
    assert not any(map(start_mark, left))
    assert not checkout.status().running
    assert checkout.folder.stat().st_mode & 0o777 == 0o700


async def _write(statement: str, url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    await connection.execute(statement)
    await connection.close()
