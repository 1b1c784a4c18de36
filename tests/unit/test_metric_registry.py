import pytest
from carillon_shared.telemetry import metrics
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

METRICS = {
    name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)
}
# Each takes its values from a small closed set: no tenants, users, ids or texts.
LABELS = {
    "channel",
    "event",
    "kind",
    "lane",
    "method",
    "outcome",
    "provider",
    "purpose",
    "queue",
    "reason",
    "result",
    "route",  # the pattern, never the path
    "settlement",
    "state",
    "status",
    "sweep",
    "tier",
    "what",
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_ours_told_and_bounded(name: str) -> None:
    metric = METRICS[name]
    assert metric._name.startswith("carillon_")
    assert metric._documentation.endswith(".")
    assert set(metric._labelnames) <= LABELS


def test_what_has_not_happened_yet_is_exported_as_zero() -> None:
    exported = generate_latest(REGISTRY).decode()
    for result in metrics.PUBLISH_RESULTS:
        assert f'carillon_publish_messages_total{{result="{result}"}}' in exported
    for result in metrics.INTAKE_RESULTS:
        assert f'carillon_intake_events_total{{result="{result}"}}' in exported
    assert 'carillon_broker_connected{purpose="consume"}' in exported
