import asyncio
import os
import signal
import subprocess
import sys

import pytest
from carillon_shared.lifecycle import Shutdown

_SERVICE = """
import asyncio
from carillon_shared.lifecycle import run
async def main(shutdown):
    shutdown.on_request(lambda: print("red", flush=True))
    print(type(asyncio.get_running_loop()).__module__, flush=True)
    await shutdown.wait()
    print("draining", flush=True)
    {last}
    print("done", flush=True)
run(main)
"""
_CRASHING = """
from carillon_shared.lifecycle import CrashPoint, crash_point
for number in range(3):
    crash_point(CrashPoint.RELAY_AFTER_PUBLISH)
    print(number, flush=True)
"""


def _start(program: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_the_service_finish(number: signal.Signals) -> None:
    with _start(_SERVICE.format(last="pass")) as process:
        assert _line(process).startswith("uvloop")
        process.send_signal(number)
        output, errors = process.communicate(timeout=10)
    assert [line for line in output.splitlines() if "stopping" not in line] == ["red", "draining", "done"]
    assert process.returncode == 0, errors


def test_the_second_signal_ends_it_at_once() -> None:
    with _start(_SERVICE.format(last="await asyncio.Event().wait()")) as process:
        _line(process)
        process.send_signal(signal.SIGTERM)
        while _line(process) != "draining":
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("environment", "passed", "status"),
    [
        ({"CARILLON_CRASH_AT": "relay.after_publish"}, [], -signal.SIGKILL),
        ({"CARILLON_CRASH_AT": "relay.after_publish", "CARILLON_CRASH_AFTER_HITS": "3"}, ["0", "1"], -9),
        ({"CARILLON_CRASH_AT": "worker.after_lease"}, ["0", "1", "2"], 0),
        ({"CARILLON_CRASH_AT": ""}, ["0", "1", "2"], 0),
    ],
)
def test_a_crash_point_kills_only_where_it_is_armed(
    environment: dict[str, str], passed: list[str], status: int
) -> None:
    with _start(_CRASHING, **environment) as process:
        output, _ = process.communicate(timeout=10)
    assert (output.split(), process.returncode) == (passed, status)


def test_a_mistyped_crash_point_stops_the_start() -> None:
    with _start(_SERVICE.format(last="pass"), CARILLON_CRASH_AT="relay.after_publsh") as process:
        output, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "relay.after_publsh" in errors
    assert not output


async def test_callbacks_run_before_anything_that_waits() -> None:
    shutdown, order = Shutdown(), list[str]()
    shutdown.on_request(lambda: order.append("callback"))

    async def waits() -> None:
        await shutdown.wait()
        order.append("waiter")

    waiter = asyncio.create_task(waits())
    await asyncio.sleep(0)
    shutdown.request()
    shutdown.request()
    assert order == ["callback"]
    await waiter
    assert order == ["callback", "waiter"]


def test_a_callback_that_comes_after_the_request_is_called_at_once() -> None:
    shutdown, called = Shutdown(), list[str]()
    shutdown.request()
    shutdown.on_request(lambda: called.append("late"))
    shutdown.request()
    assert called == ["late"]
