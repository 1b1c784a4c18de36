"""Metrics of attempts, a whole wave at a time: looking up a metric's labels costs more than counting."""

import time
from collections import Counter
from collections.abc import Sequence

from carillon_shared.delivery.work import Ended
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import RESTING_STATUSES, DeliveryStatus
from carillon_shared.ids import accepted_seconds
from carillon_shared.telemetry import metrics
from carillon_shared.topology.ladder import LADDER


def start_delivery_metrics(channel: Channel) -> None:
    """Export at zero what a worker of this channel counts, so that the first failure shows in a rate."""
    of_channel = (channel,)
    metrics.start_at_zero(metrics.ATTEMPTS, channel=of_channel, outcome=metrics.ATTEMPT_OUTCOMES)
    metrics.start_at_zero(metrics.DEAD_LETTERS, channel=of_channel, reason=metrics.DEAD_REASONS)
    metrics.start_at_zero(metrics.UNKNOWN_OUTCOMES, channel=of_channel)
    metrics.start_at_zero(metrics.CHANNEL_PAUSED, channel=of_channel)
    metrics.start_at_zero(metrics.CONSUMPTION_STOPPED, channel=of_channel)
    metrics.start_at_zero(metrics.EVENT_TO_SETTLE_SECONDS, channel=of_channel, lane=Lane)
    metrics.start_at_zero(metrics.RETRIES, channel=of_channel, tier=[tier.label for tier in LADDER])


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
