"""A lost message is told from a backlog, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from carillon_dispatcher.planning.rows import Verdict
from carillon_dispatcher.sweepers.lost import LostChunks
from carillon_dispatcher.sweepers.open_events import OpenEvents
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in

_MARGIN = 120.0


@dataclass(slots=True)
class HandClock:
    """A clock that a test moves."""

    seconds: float = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=5) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def lost(planning: Planning, publisher: RecordingPublisher, clock: HandClock) -> LostChunks:
    return LostChunks(
        planning.dispatcher, publisher, OpenEvents(page=10), margin=_MARGIN, batch=100, clock=clock
    )


async def _published(planning: Planning, *, ago: str, lane: Lane = Lane.NORMAL) -> UUID:
    """Return an event whose mails to everybody were published so long ago."""
    event = await planning.add_event({"everyone": True}, channels=(Channel.EMAIL,), lane=lane)
    assert await planning.plan(event) == [Verdict.PLANNED]
    await planning.store.mark_events_published([event])
    await planning.owner.execute(
        f"UPDATE carillon.events SET published_at = now() - interval '{ago}' WHERE id = $1", event
    )
    await planning.owner.execute(
        f"UPDATE carillon.deliveries SET updated_at = now() - interval '{ago}' WHERE event_id = $1", event
    )
    return event


async def _mark(planning: Planning, *, ago: str, queue: str = "carillon.email.normal") -> None:
    """Let consumers have received a message of this age."""
    await planning.owner.execute(
        f"""INSERT INTO carillon.queue_watermarks (queue, consumer, newest_published_at)
        VALUES ($1, gen_random_uuid()::text, now() - interval '{ago}')""",
        queue,
    )


async def test_what_is_older_than_what_its_queue_gives_out_is_lost(
    planning: Planning, lost: LostChunks, publisher: RecordingPublisher
) -> None:
    event = await _published(planning, ago="10 min")
    await _mark(planning, ago="30 min")  # another consumer, long ago
    await _mark(planning, ago="1 min")
    assert await lost.rescue() == 5
    assert publisher.delivery_ids() == [row["id"] for row in await planning.rows(event)]
    assert {chunk.attempt for chunk in publisher.chunks()} == {1}
    assert await lost.rescue() == 0  # they have been sent just now


async def test_a_backlog_is_not_sent_again(
    planning: Planning, lost: LostChunks, publisher: RecordingPublisher
) -> None:
    await _published(planning, ago="10 min")
    await _mark(planning, ago="9 min")  # consumers are nearly there
    await _mark(planning, ago="0 s", queue="carillon.email.critical")
    assert await lost.rescue() <= 1  # one probe
    assert len(publisher.delivery_ids()) <= 1


async def test_what_is_on_its_way_is_left_alone(
    planning: Planning, lost: LostChunks, publisher: RecordingPublisher
) -> None:
    event = await _published(planning, ago="10 min")
    await planning.owner.execute(
        """UPDATE carillon.deliveries
        SET status = 'sending', lease_token = 1, updated_at = now() - interval '1 h'"""
    )
    await _mark(planning, ago="0 s")
    assert await lost.rescue() == 0
    assert publisher.published == []
    assert await planning.statuses(event) == {"sending": 5}


async def test_what_was_published_late_counts_from_then(
    planning: Planning, lost: LostChunks, publisher: RecordingPublisher
) -> None:
    """Planned while the broker was away: the rows are old, their messages are not."""
    await _published(planning, ago="10 min")
    await planning.owner.execute("UPDATE carillon.events SET published_at = now() - interval '1 min'")
    await _mark(planning, ago="0 s")
    assert await lost.rescue() == 0
    assert publisher.published == []


async def test_a_silent_queue_is_probed_with_its_oldest_delivery_once_per_margin(
    planning: Planning, lost: LostChunks, publisher: RecordingPublisher, clock: HandClock
) -> None:
    old = await _published(planning, ago="10 min")
    await _published(planning, ago="5 min")
    await _published(planning, ago="3 min", lane=Lane.BULK)
    assert await lost.rescue() == 2  # one for each queue
    assert {chunk.lane: chunk.event_id for chunk in publisher.chunks()}[Lane.NORMAL] == old
    assert await lost.rescue() == 0
    clock.seconds += _MARGIN
    assert await lost.rescue() == 2
    # The probe has arrived, so everything else of its queue that is older is lost.
    await _mark(planning, ago="0 s")
    assert await lost.rescue() == 8
    assert sorted(set(publisher.delivery_ids())) == sorted(
        [
            row["id"]
            for row in await planning.owner.fetch("SELECT id FROM carillon.deliveries WHERE lane = 'normal'")
        ]
        + [one for chunk in publisher.chunks() if chunk.lane is Lane.BULK for one in chunk.delivery_ids]
    )


async def test_a_fresh_delivery_is_no_reason_to_probe(planning: Planning, lost: LostChunks) -> None:
    await _published(planning, ago="1 min")
    assert await lost.rescue() == 0
