"""Hands planned work to the broker."""

from collections.abc import Sequence
from typing import Protocol

from carillon_shared.broker import Outgoing, PublishResult
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.rows import PlannedRows


class Publishing(Protocol):
    """Publishes with confirms; see `carillon_shared.broker.Publisher`."""

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish all and return one result for each: None when confirmed."""
        ...


def count(rows: Sequence[PlannedRows]) -> None:
    """Add rows that were written just now to the metrics."""
    for one in rows:
        metrics.PLANNED_DELIVERIES.labels(one.channel, one.status).inc(one.total)
