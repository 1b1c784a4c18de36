"""Each service is killed between two effects, at every such place, while events arrive."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from carillon_shared.lifecycle import CrashPoint
from support.faults.hastening import hasten, in_a_hurry
from support.faults.invariants import check
from support.faults.listener import listening
from support.faults.traffic import traffic
from support.platform import Platform

pytestmark = pytest.mark.timeout(300)

_SOME_FAIL = [{"fault": "retry", "match": "*", "rate": 0.3, "times": 1}]
_HANG_UP = [{"fault": "lost_reply", "match": "*", "rate": 0.2, "times": 1}]


@dataclass(frozen=True, slots=True)
class Crash:
    """A service that dies at the n-th pass of a point. `rules` are the providers' faults that lead there."""

    service: str
    point: CrashPoint
    hits: int = 2
    rules: tuple[dict[str, object], ...] = ()

    def __str__(self) -> str:
        return f"{self.service}-{self.point}"


def _crashes() -> list[Crash]:
    worker = (
        Crash("", CrashPoint.WORKER_AFTER_LEASE),
        Crash("", CrashPoint.WORKER_AFTER_PROVIDER_REPLY, hits=7),
        Crash("", CrashPoint.WORKER_AFTER_SETTLE),
        Crash("", CrashPoint.WORKER_AFTER_RETRY_PUBLISH, hits=1, rules=tuple(_SOME_FAIL)),
    )
    return [
        Crash("api", CrashPoint.API_AFTER_COMMIT, hits=3),
        Crash("api", CrashPoint.API_AFTER_PUBLISH, hits=3),
        Crash("dispatcher", CrashPoint.RELAY_AFTER_CLAIM, hits=1),
        Crash("dispatcher", CrashPoint.RELAY_AFTER_PUBLISH, hits=1),
        Crash("dispatcher", CrashPoint.DISPATCHER_AFTER_PLAN, hits=3),
        Crash("dispatcher", CrashPoint.DISPATCHER_AFTER_PUBLISH, hits=3),
        Crash("dispatcher", CrashPoint.DISPATCHER_MID_RANGE),
        Crash("dispatcher", CrashPoint.OUTCOMES_AFTER_PUBLISH),
        Crash("dispatcher", CrashPoint.RESCUE_AFTER_COMMIT, hits=1, rules=tuple(_HANG_UP)),
        *(
            Crash(name, one.point, one.hits, one.rules)
            for name in ("email-worker", "whatsapp-worker")
            for one in worker
        ),
        Crash("inapp-worker", CrashPoint.INAPP_MID_FEED_WRITE, hits=3),
    ]


_QUICK_ONES = {
    ("api", CrashPoint.API_AFTER_COMMIT),
    ("dispatcher", CrashPoint.DISPATCHER_AFTER_PLAN),
    ("email-worker", CrashPoint.WORKER_AFTER_PROVIDER_REPLY),
    ("inapp-worker", CrashPoint.INAPP_MID_FEED_WRITE),
}
_CASES = [
    pytest.param(
        one, id=str(one), marks=() if (one.service, one.point) in _QUICK_ONES else pytest.mark.extended
    )
    for one in _crashes()
]


@pytest.fixture
async def platform(shared_ground: Platform) -> AsyncIterator[Platform]:
    """The platform, without faults of providers afterwards."""
    yield shared_ground
    await shared_ground.mock_control("DELETE", "/control/faults")


async def arm(platform: Platform, crash: Crash) -> None:
    """Start a service anew so that it dies at its point; small ranges make a fan-out of a dozen people."""
    await platform.mock_control("PUT", "/control/faults", json=list(crash.rules))
    await platform.stop(crash.service)
    before = dict(platform.extra.get(crash.service, {}))
    platform.extra[crash.service] = before | {
        "CARILLON_CRASH_AT": crash.point.value,
        "CARILLON_CRASH_AFTER_HITS": str(crash.hits),
        "CARILLON_DISPATCHER_RANGE_SIZE": "3",
    }
    try:
        await platform.spawn(crash.service)
    finally:
        platform.extra[crash.service] = before


async def die_and_return(platform: Platform, crash: Crash) -> None:
    """Wait for the death of an armed service, and start it again as it was."""
    assert await platform.ended(crash.service, seconds=90) == -9
    await hasten(platform, crash.service)
    await platform.start(crash.service)


@pytest.mark.parametrize("crash", _CASES)
async def test_a_crash_between_two_effects_breaks_no_promise(platform: Platform, crash: Crash) -> None:
    async with (
        traffic(platform) as flow,
        listening(platform, flow.tenant, flow.people[:2]) as listeners,
        in_a_hurry(platform),
    ):
        await flow.accepted(5)
        await arm(platform, crash)
        await die_and_return(platform, crash)
        await flow.accepted(10)
        await flow.stop()
        report = await check(platform, flow.ledger, listeners=listeners, seconds=120)
    report.assert_clean()
