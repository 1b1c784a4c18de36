"""Sends the ranges of large audiences to the planners, a few of each event at a time."""

from uuid import UUID

import structlog
from carillon_shared.broker import Outgoing
from carillon_shared.contracts.messages import RangePlanned
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import FANOUT

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.planning.rows import RangeKey
from carillon_dispatcher.planning.store import PlanStore

AHEAD = 8
"""Ranges of one event that may be on their way: enough for several dispatchers, few for whoever comes next.
Each that is done brings the next one, so large events take turns in a queue that keeps its order."""

log = structlog.get_logger(__name__)


async def send_ranges(store: PlanStore, publisher: Publishing, event: UUID) -> int:
    """Send the event's next ranges, as far as it may have more on their way; return how many that were.

    Those that the broker does not take count as sent too: what is not planned half a minute from now is sent
    again by a sweeper. Doing it twice at the same time sends some twice, and the second is only acked.
    """
    ranges = await store.next_ranges(event, AHEAD)
    if not ranges:
        return 0
    results = await publisher.publish_many([range_message(key, lane) for key, lane in ranges])
    await store.mark_ranges_sent([key for key, _ in ranges])
    failed = sum(error is not None for error in results)
    log.info("ranges sent", event_id=event, ranges=len(ranges), failed=failed)
    return len(ranges)


def range_message(key: RangeKey, lane: Lane) -> Outgoing:
    """Return the message that gets one range planned."""
    message = RangePlanned(event_id=key.event_id, n=key.n)
    return Outgoing(FANOUT.name, lane.value, message, f"{key.event_id}:{key.n}")
