"""A process that stands still until the broker takes its connection for dead, and then goes on (F26)."""

import pytest
from support.faults.drained import unacked
from support.faults.invariants import check
from support.faults.traffic import traffic
from support.platform import Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

HEARTBEAT = 3


@pytest.mark.parametrize(
    "name",
    [
        "email-worker",
        pytest.param("inapp-worker", marks=pytest.mark.extended),
        pytest.param("dispatcher", marks=pytest.mark.extended),
    ],
)
async def test_what_it_held_is_done_by_another_and_once(shared_ground: Platform, name: str) -> None:
    """Nothing answers a heartbeat: the broker gives what this process had taken to its twin."""
    url = f"{shared_ground.addresses.broker_url}?heartbeat={HEARTBEAT}"
    shared_ground.extra.setdefault(name, {})["CARILLON_BROKER_URL"] = url
    await shared_ground.restart(name)
    twin = f"{name}-2"
    async with traffic(shared_ground, rate=25) as flow:
        await flow.accepted(20)
        await shared_ground.pause(name)
        await flow.accepted(20)
        assert await _holds_something(shared_ground)
        await shared_ground.start(twin)
        await flow.stop()
        (await check(shared_ground, flow.ledger, seconds=90)).assert_clean()
    shared_ground.resume(name)
    # It wakes up with work in hand that is done, and with a connection that is gone.
    await shared_ground.ready(name)
    await shared_ground.stop(twin)
    async with traffic(shared_ground, rate=25) as more:
        await more.accepted(20)
    (await check(shared_ground, flow.ledger, more.ledger, seconds=90)).assert_clean()
    shared_ground.extra[name].pop("CARILLON_BROKER_URL")
    await shared_ground.restart(name)


async def _holds_something(platform: Platform) -> bool:
    """Wait until the broker says that messages lie with a consumer; it tells that some seconds late."""

    async def look() -> bool:
        return bool(await unacked(platform))

    return await eventually(look, seconds=30, what="messages in the frozen process's hands")
