"""Metrics of attempts, a whole wave at a time: looking up a metric's labels costs more than counting."""

import time
from collections import Counter
from collections.abc import Sequence

from carillon_shared.delivery.work import Ended
from carillon_shared.domain.states import RESTING_STATUSES, DeliveryStatus
from carillon_shared.ids import accepted_seconds
from carillon_shared.telemetry import metrics


def count_attempts(ended: Sequence[Ended]) -> None:
    """Count attempts that are written down."""
    outcomes = Counter((one.delivery.channel, type(one.attempted.outcome).__name__.lower()) for one in ended)
    for labels, many in outcomes.items():
        metrics.ATTEMPTS.labels(*labels).inc(many)
    statuses = Counter((one.delivery.channel, one.decision.status, one.decision.reason) for one in ended)
    for (channel, status, reason), many in statuses.items():
        if status is DeliveryStatus.UNKNOWN:
            metrics.UNKNOWN_OUTCOMES.labels(channel).inc(many)
        elif status is DeliveryStatus.DEAD:
            metrics.DEAD_LETTERS.labels(channel, reason or "none").inc(many)
    _observe_journeys(ended)


def _observe_journeys(ended: Sequence[Ended]) -> None:
    now = time.time()
    histograms = {}
    for one in ended:
        if one.decision.status not in RESTING_STATUSES:
            continue
        labels = one.delivery.channel, one.delivery.lane
        if labels not in histograms:
            histograms[labels] = metrics.EVENT_TO_SETTLE_SECONDS.labels(*labels)
        histograms[labels].observe(max(now - accepted_seconds(one.item.id), 0.0))
