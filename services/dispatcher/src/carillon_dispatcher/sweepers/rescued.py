"""Deliveries that a sweeper sends on their way (again)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.chunks import Work, chunks_of
from carillon_dispatcher.planning.publishing import Publishing

log = structlog.get_logger(__name__)

# Twice in doubt: perhaps the delivery itself kills its worker, so it goes alone.
ISOLATE_AFTER = 2


@dataclass(frozen=True, slots=True)
class Rescued:
    """One delivery, and the number of the attempt it is to make."""

    id: UUID
    event_id: UUID
    tenant: str
    traceparent: str | None
    channel: Channel
    lane: Lane
    attempt: int
    isolated: bool = False


def rescued(row: asyncpg.Record) -> Rescued:
    """Return the next attempt of a delivery whose row has `attempt` of them behind it."""
    return Rescued(
        id=row["delivery_id"],
        event_id=row["event_id"],
        tenant=row["tenant"],
        traceparent=row["traceparent"],
        channel=Channel(row["channel"]),
        lane=Lane(row["lane"]),
        attempt=row["attempt"] + 1,
        isolated=row.get("unknowns", 0) >= ISOLATE_AFTER,
    )


def works_of(deliveries: Iterable[Rescued]) -> list[Work]:
    """Put those together that may share a message."""
    together: dict[tuple[UUID, Channel, Lane, int, bool], list[Rescued]] = defaultdict(list)
    for one in deliveries:
        together[one.event_id, one.channel, one.lane, one.attempt, one.isolated].append(one)
    return [_work(group) for group in together.values()]


def _work(group: list[Rescued]) -> Work:
    first = group[0]
    return Work(
        event_id=first.event_id,
        tenant=first.tenant,
        traceparent=first.traceparent,
        channel=first.channel,
        lane=first.lane,
        ids=sorted(one.id for one in group),
        attempt=first.attempt,
        isolated=first.isolated,
    )


async def publish_rescued(publisher: Publishing, what: str, deliveries: Sequence[Rescued]) -> bool:
    """Publish these; `what` names them in the log and in `carillon_rescues_total`.

    Returns whether the broker confirmed everything. What it did not is found again by the same sweep.
    """
    if not deliveries:
        return True
    crash_point(CrashPoint.RESCUE_AFTER_COMMIT)
    outgoings = chunks_of(works_of(deliveries))
    failed = [error for error in await publisher.publish_many(outgoings) if error is not None]
    metrics.RESCUED.labels(what).inc(len(deliveries))
    log.info("rescued", what=what, deliveries=len(deliveries), messages=len(outgoings), failed=len(failed))
    return not failed
