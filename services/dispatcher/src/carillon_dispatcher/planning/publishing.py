"""Hands planned work to the broker."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import structlog
from carillon_shared.broker import Outgoing, PublishResult
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.chunks import chunks_of, work_of
from carillon_dispatcher.planning.rows import PlannedRows

log = structlog.get_logger(__name__)


class Publishing(Protocol):
    """Publishes with confirms; see `carillon_shared.broker.Publisher`."""

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish all and return one result for each: None when confirmed."""
        ...


async def publish_rows(publisher: Publishing, rows: Sequence[PlannedRows]) -> set[UUID]:
    """Publish the queued ones among these rows, and return the events of which not all was confirmed."""
    outgoings = chunks_of(work_of(one) for one in rows if one.ids)
    results = await publisher.publish_many(outgoings) if outgoings else []
    failed = {
        _event_of(outgoing): error
        for outgoing, error in zip(outgoings, results, strict=True)
        if error is not None
    }
    if failed:
        log.warning("work not published", events=len(failed), reason=str(next(iter(failed.values()))))
    return set(failed)


def count(rows: Sequence[PlannedRows]) -> None:
    """Add rows that were written just now to the metrics."""
    for one in rows:
        metrics.PLANNED_DELIVERIES.labels(one.channel, one.status).inc(one.total)


def _event_of(outgoing: Outgoing) -> UUID:
    message = outgoing.message
    if not isinstance(message, WorkChunk):
        raise TypeError(f"{message.TYPE} carries no work")
    return message.event_id
