"""The network between services and PostgreSQL (F11, F17): partitions, half-open connections, slow lines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from dataclasses import dataclass

import pytest
from carillon_shared.broker.declare import declare
from support import migrated as migrated_databases
from support.faults.database_faults import superuser
from support.faults.database_ground import USERS
from support.faults.database_sessions import assert_sessions_fit
from support.faults.fault_proxy import FaultProxy
from support.faults.invariants import check
from support.faults.links import Link, Links
from support.faults.toxics import Direction
from support.faults.traffic import Traffic, traffic
from support.platform import Platform, running_platform
from support.services import PostgresService, RabbitmqService
from support.waiting import eventually

from .conftest import QUICK

pytestmark = pytest.mark.timeout(400)

_END_FORGOTTEN = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_start < $1 AND application_name = ANY ($2)
"""
BEYOND_EVERY_LIMIT = 35.0  # seconds; a statement is given up after 30
SOON = 20.0


@dataclass(frozen=True, slots=True)
class Network:
    """A platform, each service of which has a line of its own to the database."""

    platform: Platform
    links: Links

    def line_of(self, name: str) -> FaultProxy:
        """Return the proxy between a service and the database."""
        return self.links[name, Link.DATABASE]

    @property
    def lines(self) -> list[FaultProxy]:
        """Return all of them."""
        return [self.line_of(name) for name in USERS]

    async def assert_whole(self, flow: Traffic, *, seconds: float = 120) -> None:
        """Nothing is lost, nothing leaks, nobody has died."""
        (await check(self.platform, flow.ledger, seconds=seconds)).assert_clean()
        for name in USERS:
            assert self.platform.processes[name].returncode is None, self.platform.log_tail(name)
        await assert_sessions_fit(self.platform, {name: self.line_of(name).port for name in USERS})


@pytest.fixture(scope="module")
async def network(
    postgres: PostgresService,
    rabbitmq: RabbitmqService,
    database_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Network]:
    """Everything running, for all tests of this file."""
    database = await migrated_databases.copy_template(postgres, database_template)
    vhost = rabbitmq.create_vhost()
    await declare(rabbitmq.url(vhost))
    links = Links(*((name, Link.DATABASE) for name in USERS))
    async with (
        links,
        running_platform(
            database,
            rabbitmq.url(vhost),
            tmp_path_factory.mktemp("network"),
            extra=deepcopy(QUICK),
            management_url=rabbitmq.management_url,
            before_start=links.lay,
        ) as platform,
    ):
        yield Network(platform, links)
    rabbitmq.delete_vhost(vhost)
    await migrated_databases.drop(database)


def _silence(line: FaultProxy) -> None:
    line.blackhole()


def _deafen(line: FaultProxy) -> None:
    line.blackhole(Direction.UP)


def _mute(line: FaultProxy) -> None:
    line.blackhole(Direction.DOWN)


def _be_late(line: FaultProxy) -> None:
    line.delay(2.0, Direction.DOWN)


def _be_narrow(line: FaultProxy) -> None:
    line.throttle(8_000)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        pytest.param(_silence, 10.0, id="short-partition"),
        pytest.param(_silence, BEYOND_EVERY_LIMIT, id="partition", marks=pytest.mark.extended),
        pytest.param(_deafen, BEYOND_EVERY_LIMIT, id="nothing-goes-up", marks=pytest.mark.extended),
        pytest.param(_mute, BEYOND_EVERY_LIMIT, id="nothing-comes-down", marks=pytest.mark.extended),
    ],
)
async def test_a_partition_refuses_events_and_passes_without_a_trace(
    network: Network, fault: Callable[[FaultProxy], None], seconds: float
) -> None:
    async with traffic(network.platform) as flow:
        await flow.accepted(10)
        for line in network.lines:
            fault(line)
        healed_at = asyncio.get_running_loop().time() + seconds
        await _is_refused(flow)
        await asyncio.sleep(max(healed_at - asyncio.get_running_loop().time(), 0))
        for line in network.lines:
            await line.heal()
        await flow.accepted(10)
    await network.assert_whole(flow)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(_be_late, id="two-seconds-late", marks=pytest.mark.extended),
        pytest.param(_be_narrow, id="narrow", marks=pytest.mark.extended),
    ],
)
async def test_a_bad_line_slows_work_and_does_not_stop_it(
    network: Network, fault: Callable[[FaultProxy], None]
) -> None:
    async with traffic(network.platform, rate=4) as flow:
        await flow.accepted(5)
        for line in network.lines:
            fault(line)
        await flow.accepted(10, seconds=120)
        for line in network.lines:
            await line.heal()
        await flow.accepted(5)
    await network.assert_whole(flow)


@pytest.mark.extended
@pytest.mark.parametrize("name", list(USERS))
async def test_one_service_that_is_cut_off_does_not_disturb_the_others(network: Network, name: str) -> None:
    async with traffic(network.platform) as flow:
        await flow.accepted(10)
        network.line_of(name).blackhole()
        if name == "api":
            await _is_refused(flow)
        else:
            refused = flow.ledger.postponed
            await flow.accepted(60)
            assert flow.ledger.postponed == refused
        await asyncio.sleep(SOON)  # long enough for leases to end and rescues to begin
        await network.line_of(name).heal()
        await flow.accepted(10)
    await network.assert_whole(flow)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["api"], id="api"),
        pytest.param(list(USERS), id="all", marks=pytest.mark.extended),
    ],
)
async def test_connections_that_the_server_has_forgotten_are_replaced(
    network: Network, names: list[str]
) -> None:
    """Nobody is told that they are dead: they stay open and silent, while new ones would work."""
    async with superuser(network) as session:
        async with traffic(network.platform) as flow:
            await flow.accepted(10)
            then = await session.fetchval("SELECT clock_timestamp()")
            assert sum(network.line_of(name).silence() for name in names)
            await flow.accepted(30, seconds=90)
        # What the server's keepalive does within two minutes; here it is answered by the proxy.
        await session.execute(_END_FORGOTTEN, then, [USERS[name] for name in names])
    await network.assert_whole(flow)


async def _is_refused(flow: Traffic) -> None:
    """Wait until posts get a 503, in time for the producer to hear it."""
    before = flow.ledger.refused

    async def look() -> bool:
        return flow.ledger.refused > before + 3

    await eventually(look, seconds=60, what="events to be refused")
