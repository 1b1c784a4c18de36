"""Metrics of feed writes, a whole statement at a time."""

import time
from collections.abc import Sequence

from carillon_shared.domain.channels import Channel
from carillon_shared.ids import accepted_seconds
from carillon_shared.telemetry import metrics

from carillon_inapp_worker.feed import Failure, Written


def count_written(written: Sequence[Written]) -> None:
    """Count items that are in their feeds now, and how long that took since their events were accepted."""
    metrics.FEED_WRITES.inc(len(written))
    metrics.ATTEMPTS.labels(Channel.INAPP, "sent").inc(len(written))
    now = time.time()
    for item in written:
        message = item.draft.chunk.message
        seconds = max(now - accepted_seconds(message.event_id), 0.0)
        metrics.EVENT_TO_SETTLE_SECONDS.labels(Channel.INAPP, message.lane).observe(seconds)
        if not item.draft.event.timed:
            metrics.EVENT_TO_INBOX_SECONDS.labels(message.lane).observe(seconds)


def count_buried(failures: Sequence[Failure]) -> None:
    """Count deliveries that could not be rendered, and wait for a person now."""
    metrics.ATTEMPTS.labels(Channel.INAPP, "rejected").inc(len(failures))
    for failure in failures:
        metrics.DEAD_LETTERS.labels(Channel.INAPP, failure.error.reason).inc()
