"""A tenant that fills a work queue gets its share of it, and the rest goes by a lower lane."""

from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from carillon_dispatcher.handler import DispatchHandler
from carillon_dispatcher.planning.fair_work import FairWork
from carillon_dispatcher.planning.shares import ShareLimits, Shares
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, accepted, planning_in, received
from support.rooms import FixedGauge
from support.world import World, make_world

SHARE = 6
"""Messages between two looks, which find that nothing has moved."""


class _Queues:
    """Work queues that are as full as a test says."""

    def __init__(self) -> None:
        self.gauges: dict[str, FixedGauge] = {}

    def gauge(self, queue: str) -> FixedGauge:
        return self.gauges.setdefault(queue, FixedGauge())

    def stand_still(self, queue: str) -> None:
        self.gauge(queue).messages = 1_000_000


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=5) as made:
        yield made


@pytest.fixture
async def quiet(planning: Planning) -> World:
    return await make_world(planning.owner, slug="quiet", people=5)


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def queues() -> _Queues:
    return _Queues()


@pytest.fixture
def handler(planning: Planning, publisher: RecordingPublisher, queues: _Queues) -> DispatchHandler:
    shares = Shares(queues.gauge, ShareLimits(waiting=2, messages=SHARE))
    return DispatchHandler(planning.store, publisher, FairWork(publisher, planning.store, shares))


async def _dispatch(
    planning: Planning, handler: DispatchHandler, events: int, lane: Lane = Lane.NORMAL
) -> list[UUID]:
    channels = (Channel.EMAIL, Channel.INAPP)
    ids = [await planning.add_event({"users": ["u-1"]}, channels=channels, lane=lane) for _ in range(events)]
    await handler(received(*map(accepted, ids)))
    return ids


def _keys(publisher: RecordingPublisher) -> Counter[str]:
    return Counter(one.routing_key for one in publisher.published)


async def _lanes(planning: Planning, events: list[UUID]) -> Counter[str]:
    rows = [row for event in events for row in await planning.rows(event)]
    return Counter(f"{row['channel']}.{row['lane']}" for row in rows)


@pytest.mark.usefixtures("quiet")
async def test_what_is_beyond_a_tenants_share_goes_by_a_lower_lane(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher, queues: _Queues
) -> None:
    queues.stand_still("carillon.email.normal")
    events = await _dispatch(planning, handler, 10)
    expected = {"email.normal": SHARE, "email.bulk": 10 - SHARE, "inapp.normal": 10}
    assert _keys(publisher) == expected
    # Rows say where their message is: whoever looks for lost ones compares with that queue.
    assert await _lanes(planning, events) == expected
    assert Counter(str(chunk.lane) for chunk in publisher.chunks()) == {"normal": 16, "bulk": 4}


async def test_another_tenant_has_its_own_share(
    planning: Planning,
    quiet: World,
    handler: DispatchHandler,
    publisher: RecordingPublisher,
    queues: _Queues,
) -> None:
    queues.stand_still("carillon.email.normal")
    await _dispatch(planning, handler, 10)
    publisher.published.clear()
    planning.world = quiet
    await _dispatch(planning, handler, 2)
    assert _keys(publisher) == {"email.normal": 2, "inapp.normal": 2}


@pytest.mark.usefixtures("quiet")
async def test_a_queue_that_is_worked_off_takes_all(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher, queues: _Queues
) -> None:
    await _dispatch(planning, handler, 40)
    assert _keys(publisher) == {"email.normal": 40, "inapp.normal": 40}
    queues.stand_still("carillon.email.normal")
    await _dispatch(planning, handler, 10)
    queues.gauge("carillon.email.normal").messages = 0
    publisher.published.clear()
    await _dispatch(planning, handler, 10)
    assert _keys(publisher) == {"email.normal": 10, "inapp.normal": 10}


async def test_a_tenant_alone_leaves_room_for_nobody(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher, queues: _Queues
) -> None:
    queues.stand_still("carillon.email.normal")
    await _dispatch(planning, handler, 20)
    assert _keys(publisher) == {"email.normal": 20, "inapp.normal": 20}


@pytest.mark.usefixtures("quiet")
async def test_below_bulk_there_is_nothing_and_above_normal_there_is(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher, queues: _Queues
) -> None:
    for lane in Lane:
        queues.stand_still(f"carillon.email.{lane}")
    await _dispatch(planning, handler, 20, Lane.BULK)
    assert _keys(publisher) == {"email.bulk": 20, "inapp.bulk": 20}
    publisher.published.clear()
    await _dispatch(planning, handler, 8, Lane.CRITICAL)
    assert _keys(publisher) == {"email.critical": SHARE, "email.normal": 2, "inapp.critical": 8}


@pytest.mark.usefixtures("quiet")
async def test_what_was_lowered_and_not_published_goes_by_its_new_lane(
    planning: Planning, handler: DispatchHandler, publisher: RecordingPublisher, queues: _Queues
) -> None:
    queues.stand_still("carillon.email.normal")
    publisher.away = True
    events = await _dispatch(planning, handler, 10)
    publisher.away = False
    await handler(received(*map(accepted, events)))
    assert _keys(publisher)["email.bulk"] >= 10 - SHARE
    assert _keys(publisher) == await _lanes(planning, events)


@pytest.mark.usefixtures("quiet")
async def test_one_event_for_many_is_split_where_the_share_ends(
    planning: Planning, publisher: RecordingPublisher, queues: _Queues
) -> None:
    """A large audience is many messages; each is counted with all that it carries."""
    await planning.world.add_people(600, start=6)
    queues.stand_still("carillon.email.normal")
    work = FairWork(publisher, planning.store, Shares(queues.gauge, ShareLimits(deliveries=450)))
    event = await planning.add_event({"everyone": True}, channels=(Channel.EMAIL,))
    await DispatchHandler(planning.store, publisher, work)(received(accepted(event)))
    assert _keys(publisher) == {"email.normal": 3, "email.bulk": 1}
    assert await _lanes(planning, [event]) == {"email.normal": 405, "email.bulk": 200}
