"""Each service is asked to stop while events arrive: it finishes what it holds, and nobody notices."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from carillon_shared.topology.carillon import DISPATCH_DEAD_QUEUE
from support.faults.drained import queue_depths
from support.faults.invariants import check
from support.faults.listener import listening
from support.faults.traffic import Traffic, traffic
from support.platform import Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

SERVICES = ["api", "dispatcher", "email-worker", "whatsapp-worker", "inapp-worker"]

ROUNDS = 2
_SLOW = [{"fault": "slow", "match": "*", "delay_seconds": 0.5}]
_OPEN_CALLS = {"email-worker": "smtp", "whatsapp-worker": "whatsapp"}
# A provider that a crowded machine lets answer too late is in doubt too, but not because of a shutdown.
_IN_DOUBT = """
    SELECT (SELECT count(*) FROM carillon.attempts WHERE tenant_id = $1 AND code = 'worker_lost') AS lost,
           (SELECT count(*) FROM carillon.deliveries d
            WHERE d.tenant_id = $1 AND d.status = 'dead' AND NOT EXISTS (
                SELECT FROM carillon.attempts a WHERE a.delivery_id = d.id AND a.outcome = 'unknown')) AS dead
"""


@pytest.fixture
async def platform(shared_ground: Platform) -> AsyncIterator[Platform]:
    """The platform, with providers so slow that a worker always has calls open."""
    await shared_ground.mock_control("PUT", "/control/faults", json=_SLOW)
    yield shared_ground
    await shared_ground.mock_control("DELETE", "/control/faults")


async def _busy(platform: Platform, name: str, flow: Traffic) -> None:
    """Wait until a service has its hands full: calls open, or events just accepted."""
    await flow.accepted(10)
    if name not in _OPEN_CALLS:
        return

    async def look() -> Any:
        return (await platform.mock("/control/state"))["open_calls"][_OPEN_CALLS[name]]

    await eventually(look, seconds=60, what=f"open calls of {name}")


async def _in_doubt(platform: Platform, flow: Traffic) -> dict[str, int]:
    pool = await platform.database.pool(max_size=1)
    row = await pool.fetchrow(_IN_DOUBT, flow.tenant.id)
    await pool.close()
    assert row is not None
    return dict(row)


@pytest.mark.parametrize(
    "name",
    [
        "api",
        "email-worker",
        pytest.param("dispatcher", marks=pytest.mark.extended),
        pytest.param("whatsapp-worker", marks=pytest.mark.extended),
        pytest.param("inapp-worker", marks=pytest.mark.extended),
    ],
)
async def test_a_stop_under_load_loses_and_doubts_nothing(platform: Platform, name: str) -> None:
    async with (
        traffic(platform, rate=30) as flow,
        listening(platform, flow.tenant, flow.people[:3]) as listeners,
    ):
        for _ in range(ROUNDS):
            await _busy(platform, name, flow)
            assert await platform.stopped(name) == 0, platform.log_tail(name)
            await platform.start(name)
        await flow.accepted(10)
        await flow.stop()
        report = await check(platform, flow.ledger, listeners=listeners, seconds=120)
    report.assert_clean()
    assert await _in_doubt(platform, flow) == {"lost": 0, "dead": 0}
    depths = await queue_depths(platform.addresses.broker_url, [DISPATCH_DEAD_QUEUE])
    assert depths == {DISPATCH_DEAD_QUEUE: 0}


@pytest.mark.extended
async def test_everything_stops_at_once_and_goes_on_where_it_was(platform: Platform) -> None:
    names = [name for name in platform.processes if name != "mock-providers"]
    async with traffic(platform, rate=30) as flow:
        await flow.accepted(20)
        await platform.stop(*names)
        await platform.start(*names)
        await flow.accepted(10)
        await flow.stop()
        report = await check(platform, flow.ledger, seconds=120)
    report.assert_clean()
    assert await _in_doubt(platform, flow) == {"lost": 0, "dead": 0}


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_asked_to_stop_while_it_starts_ends(shared_ground: Platform, name: str) -> None:
    second = f"{name}-2"
    await shared_ground.spawn(second)
    pid = shared_ground.processes[second].pid

    async def listens() -> bool:
        return _catches(pid, signal.SIGTERM)

    await eventually(listens, seconds=60, what=f"{second} to heed signals")
    assert await shared_ground.stopped(second) == 0
    assert '"stopping"' in shared_ground.log_tail(second, size=1_000_000)


def _catches(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler of its own for a signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & (1 << (number - 1)))
