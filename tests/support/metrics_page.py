"""The text of `docs/metrics.md`: every metric, read from the code, with the values that its labels can have.

`PYTHONPATH=tests python -m support.metrics_page > docs/metrics.md` writes it.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from carillon_dispatcher.sweepers.retention import ENDED, TABLES
from carillon_shared.delivery.breaker import BreakerState
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import LIVE, carillon_topology
from carillon_shared.topology.ladder import LADDER
from prometheus_client import Counter, Gauge, Histogram
from support.source_tree import ROOT

Metric = Counter | Gauge | Histogram

API, DISPATCHER = ("api",), ("dispatcher",)
INAPP, SENDERS = ("inapp-worker",), ("email-worker", "whatsapp-worker")
WORKERS = (*SENDERS, *INAPP)
CONSUMERS = (*DISPATCHER, *WORKERS)
ALL = (*API, *CONSUMERS)

EXPOSED_BY: dict[str, tuple[str, ...]] = {
    "carillon_intake": API,
    "carillon_schedule": API,
    "carillon_loop": ALL,
    "carillon_clock": ALL,
    "carillon_database": ALL,
    "carillon_http": API,
    "carillon_receipts": API,
    "carillon_broker": ALL,
    "carillon_publish": ALL,
    "carillon_consumer": CONSUMERS,
    "carillon_consumer_batch": (*DISPATCHER, *INAPP),
    "carillon_consumer_handler": (*DISPATCHER, *INAPP),
    "carillon_consumer_failures": (*DISPATCHER, *INAPP),
    "carillon_consumer_messages": ALL,
    "carillon_relay": DISPATCHER,
    "carillon_due": DISPATCHER,
    "carillon_fanout": DISPATCHER,
    "carillon_rescues": DISPATCHER,
    "carillon_sweep": DISPATCHER,
    "carillon_retention": DISPATCHER,
    "carillon_operated": DISPATCHER,
    "carillon_dead_copies": DISPATCHER,
    "carillon_dead_letters": CONSUMERS,
    "carillon_dead_letters_waiting": DISPATCHER,
    "carillon_dead_letters_oldest": DISPATCHER,
    "carillon_planned": DISPATCHER,
    "carillon_attempts": WORKERS,
    "carillon_provider": SENDERS,
    "carillon_channel": WORKERS,
    "carillon_consumption": WORKERS,
    "carillon_retries": WORKERS,
    "carillon_unknown": CONSUMERS,
    "carillon_outcomes": DISPATCHER,
    "carillon_webhook": DISPATCHER,
    "carillon_leases": DISPATCHER,
    "carillon_event_to_settle": WORKERS,
    "carillon_event_to_inbox": INAPP,
    "carillon_event_to_stream": API,
    "carillon_queue": DISPATCHER,
    "carillon_feed": INAPP,
    "carillon_streams": API,
    "carillon_stream": API,
}
"""By the beginning of the name; the longest that fits counts."""

_QUEUES = tuple(queue.name for queue in carillon_topology().queues)
_PROVIDERS = (
    *("smtp", "smtp_fallback", "resend", "resend_fallback", "sandbox"),
    *("cloud_api", "cloud_api_fallback", "twilio", "twilio_fallback"),
)
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "other")
_SWEEP = re.compile(r'Sweep\(\s*"([a-z-]+)"')

OPEN_LABELS = {
    "route": "the path templates of [the API's description](openapi.json), pages, and `none`",
    "status": "status codes of HTTP",
}
"""Labels whose values are bounded by something larger than a list."""

VALUES: dict[str, tuple[str, ...]] = {
    "channel": tuple(Channel),
    "lane": tuple(Lane),
    "queue": _QUEUES,
    "provider": _PROVIDERS,
    "purpose": metrics.PURPOSES,
    "tier": tuple(tier.label for tier in LADDER),
    "method": _METHODS,
    "outcome": metrics.ATTEMPT_OUTCOMES,
    "reason": metrics.DEAD_REASONS,
    "settlement": metrics.SETTLEMENTS,
    "event": metrics.FRAME_EVENTS,
}
VALUES_OF: dict[tuple[str, str], tuple[str, ...]] = {
    ("carillon_intake_events", "result"): metrics.INTAKE_RESULTS,
    ("carillon_schedule_ticks", "result"): metrics.TICK_RESULTS,
    ("carillon_receipts", "result"): metrics.RECEIPT_RESULTS,
    ("carillon_publish_messages", "result"): metrics.PUBLISH_RESULTS,
    ("carillon_webhook_posts", "result"): metrics.WEBHOOK_RESULTS,
    ("carillon_operated_dead_letters", "result"): metrics.OPERATED_RESULTS,
    ("carillon_operated_dead_letters", "kind"): metrics.OPERATIONS,
    ("carillon_consumer_failures", "kind"): metrics.CONSUMER_FAILURE_KINDS,
    ("carillon_consumer_messages", "queue"): (*_QUEUES, LIVE.name),
    ("carillon_database_failures", "kind"): metrics.DATABASE_FAILURE_KINDS,
    ("carillon_database_connections", "state"): metrics.CONNECTION_STATES,
    ("carillon_rescues", "what"): metrics.RESCUES,
    ("carillon_retention_partitions_dropped", "what"): TABLES,
    ("carillon_retention_ended", "what"): ENDED,
    ("carillon_planned_deliveries", "status"): metrics.PLANNED_STATUSES,
    ("carillon_provider_breaker", "state"): tuple(BreakerState),
    ("carillon_outcomes", "state"): metrics.TOLD_STATES,
}

INTRODUCTION = """\
# Metrics

Every service answers `GET /metrics` in Prometheus' text format, on its own port (`CARILLON_METRICS_PORT`):
the API on 9464, the dispatcher on 9465, the workers on 9466 (e-mail), 9467 (WhatsApp) and 9468 (in-app).
This page is made from [the one file that defines them](../shared/src/carillon_shared/telemetry/metrics.py);
a test holds it there, and another compares the values of labels with what running services export.

- No label has tenants, people, ids or texts as values. Where the values are few, every combination is
  exported from the start, at zero.
- Each process counts for itself: add counters up (`sum(rate(...))`). What a dispatcher *measures* (queues,
  backlogs, dead letters) every dispatcher says alike: take `max by (...)`.
- Histograms have `_bucket`, `_sum` and `_count`. A process exports metrics of others too, at zero.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as the page shows it. `name` has the suffix that counters are exported with."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...]
    services: tuple[str, ...]

    @property
    def family(self) -> str:
        """The name without a counter's suffix."""
        return self.name.removesuffix("_total")

    @property
    def unit(self) -> str:
        """What it counts in."""
        return "seconds" if self.family.endswith("_seconds") else "1"

    @property
    def series(self) -> tuple[str, ...]:
        """Every name that it is exported under."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))

    def values(self, label: str) -> tuple[str, ...] | None:
        """Return the values that a label can have; None when `OPEN_LABELS` tells."""
        own = VALUES_OF.get((self.family, label))
        if own is None and label == "sweep":
            return sweep_names()
        return own if own is not None or label in OPEN_LABELS else VALUES[label]


def described_metrics() -> list[Described]:
    """Return every metric in the order of definition. Raises `KeyError` when one is described nowhere."""
    found = [value for value in vars(metrics).values() if isinstance(value, Counter | Gauge | Histogram)]
    return [_described(metric) for metric in found]


def sweep_names() -> tuple[str, ...]:
    """Return the names of the dispatcher's sweeps."""
    files = sorted((ROOT / "services/dispatcher/src").rglob("*.py"))
    return tuple(sorted({name for path in files for name in _SWEEP.findall(path.read_text("utf-8"))}))


def page_text() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *(line for metric in described_metrics() for line in _section(metric))])


def _described(metric: Metric) -> Described:
    family, kind = metric._name, metric._type
    name = f"{family}_total" if kind == "counter" else family
    text, labels = metric._documentation, metric._labelnames
    return Described(name, kind, text, tuple(labels), _services(family))


def _services(family: str) -> tuple[str, ...]:
    fitting = [start for start in EXPOSED_BY if f"{family}_".startswith(f"{start}_")]
    if not fitting:
        raise KeyError(f"who exposes {family}?")
    return EXPOSED_BY[max(fitting, key=len)]


def _section(metric: Described) -> Iterator[str]:
    services = "every service" if metric.services == ALL else ", ".join(metric.services)
    yield f"## `{metric.name}`"
    yield ""
    yield metric.text
    yield ""
    yield f"- {metric.kind.capitalize()}, unit: {metric.unit}; from: {services}"
    yield from (f"- `{label}`: {_told(metric, label)}" for label in metric.labels)
    yield ""


def _told(metric: Described, label: str) -> str:
    values = metric.values(label)
    return OPEN_LABELS[label] if values is None else ", ".join(f"`{value}`" for value in values)


if __name__ == "__main__":
    sys.stdout.write(page_text())
