"""The network between each service and the broker fails, in every way that a network can (F11)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass

import pytest
from carillon_shared.broker import declare
from support import migrated as migrated_databases
from support.faults.fault_proxy import FaultProxy
from support.faults.health_pages import says
from support.faults.invariants import check
from support.faults.links import Link, Links
from support.faults.toxics import Direction
from support.faults.traffic import Traffic, traffic
from support.platform import Platform, running_platform
from support.services import PostgresService, RabbitmqService
from support.waiting import eventually

from .conftest import QUICK

pytestmark = pytest.mark.timeout(240)

_SERVICES = ("api", "dispatcher", "email-worker", "inapp-worker", "whatsapp-worker")
_HEARTBEAT = "?heartbeat=3"  # seconds; a silent connection is given up after two of them


@dataclass(frozen=True, slots=True)
class Scene:
    """One service, the proxy before it, and what is being sent meanwhile."""

    platform: Platform
    service: str
    proxy: FaultProxy
    flow: Traffic

    async def says(self, *words: str) -> None:
        """Wait until the service says this of its broker."""
        await says(self.platform, self.service, "broker", *words)


async def _dark(scene: Scene, *directions: Direction) -> None:
    scene.proxy.blackhole(*directions)
    await scene.flow.accepted(20)
    await scene.says("no connection")


async def _partition(scene: Scene) -> None:
    await _dark(scene)


async def _nothing_leaves(scene: Scene) -> None:
    await _dark(scene, Direction.UP)


async def _nothing_returns(scene: Scene) -> None:
    await _dark(scene, Direction.DOWN)


async def _half_open(scene: Scene) -> None:
    before = scene.proxy.accepted
    lost = scene.proxy.silence()
    assert lost > 0
    await scene.flow.accepted(20)
    await _connected_again(scene.proxy, before + lost)
    await scene.says("ok")


async def _far_away(scene: Scene) -> None:
    scene.proxy.delay(1.0, jitter=0.1)  # an answer takes two seconds
    await scene.flow.accepted(60)


async def _narrow(scene: Scene) -> None:
    scene.proxy.throttle(4_000, Direction.DOWN)
    await scene.flow.accepted(60)


async def _cut_in_the_middle(scene: Scene) -> None:
    """Each connection breaks after a few kilobytes, somewhere within a frame."""
    before = scene.proxy.accepted
    scene.proxy.reset_after(3_001, Direction.UP)
    await scene.flow.accepted(60)
    await _connected_again(scene.proxy, before + 2)


async def _connected_again(proxy: FaultProxy, wanted: int) -> None:
    async def look() -> bool:
        return proxy.accepted >= wanted

    await eventually(look, seconds=60, what=f"{wanted} connections to have been made")


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "partition": _partition,
    "nothing leaves": _nothing_leaves,
    "nothing returns": _nothing_returns,
    "half open": _half_open,
    "two seconds away": _far_away,
    "slow to read": _narrow,
    "cut in the middle": _cut_in_the_middle,
}
_FAST = {("dispatcher", "partition")}


@pytest.fixture(scope="module")
async def distant(
    postgres: PostgresService,
    rabbitmq: RabbitmqService,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Platform, Links]]:
    """Everything running, with a proxy between each service and the broker."""
    database = await migrated_databases.copy_template(postgres, database_template)
    vhost = rabbitmq.create_vhost()
    await declare(rabbitmq.url(vhost))
    links = Links(*((name, Link.BROKER) for name in _SERVICES))
    async with (
        links,
        running_platform(
            database,
            rabbitmq.url(vhost) + _HEARTBEAT,
            tmp_path_factory.mktemp("distant"),
            extra=deepcopy(QUICK),
            management_url=rabbitmq.management_url,
            before_start=links.lay,
        ) as platform,
    ):
        yield platform, links
    rabbitmq.delete_vhost(vhost)
    await migrated_databases.drop(database)


@pytest.mark.parametrize(
    ("service", "fault"),
    [
        pytest.param(service, fault, marks=() if (service, fault) in _FAST else pytest.mark.extended)
        for service in _SERVICES
        for fault in FAULTS
    ],
)
async def test_nothing_is_lost_or_doubled(distant: tuple[Platform, Links], service: str, fault: str) -> None:
    platform, links = distant
    proxy = links[service, Link.BROKER]
    async with traffic(platform) as flow:
        await flow.accepted(20)
        try:
            await FAULTS[fault](Scene(platform, service, proxy, flow))
        finally:
            await proxy.heal()
        await flow.accepted(10)
        await says(platform, service, "broker", "ok")
    (await check(platform, flow.ledger, seconds=120)).assert_clean()
    assert flow.ledger.postponed == 0
