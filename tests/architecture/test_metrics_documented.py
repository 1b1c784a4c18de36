"""docs/metrics.md says what the code defines, and nothing is defined that nobody writes."""

import re

from carillon_shared.telemetry import metrics
from prometheus_client import Counter, Gauge, Histogram
from support.metrics_page import OPEN_LABELS, described_metrics, page_text
from support.source_tree import ROOT, source_files

PAGE = ROOT / "docs" / "metrics.md"
DEFINITIONS = ROOT / "shared/src/carillon_shared/telemetry/metrics.py"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(), (
        "run `PYTHONPATH=tests .venv/bin/python -m support.metrics_page > docs/metrics.md`"
    )


def test_every_label_has_a_list_of_values_or_something_that_bounds_it() -> None:
    for metric in described_metrics():
        for label in metric.labels:
            values = metric.values(label)
            assert label in OPEN_LABELS if values is None else values


def test_every_metric_is_written_somewhere() -> None:
    files = [path for path in source_files() if path != DEFINITIONS]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    written = set(re.findall(r"\bmetrics\.([A-Z_]+)", code))
    kinds = Counter | Gauge | Histogram
    assert [name for name, value in vars(metrics).items() if isinstance(value, kinds)] != []
    assert {name for name, value in vars(metrics).items() if isinstance(value, kinds)} - written == set()
