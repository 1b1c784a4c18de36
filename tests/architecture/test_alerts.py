"""Alerts ask for what exists, fire and do not fire as their tests say, and have pages of what to do."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from carillon_cli.app import app
from support.alerting import (
    FOLDER,
    RUNBOOKS,
    alerts,
    commands_in,
    metrics_in,
    page_name,
    queries_in,
    rules,
)
from support.metrics_page import described_metrics
from support.promtool import promtool

pytestmark = pytest.mark.needs("promtool")

# Of the plugin rabbitmq_prometheus, in 3.10 and 4.1 alike.
BROKERS = {"rabbitmq_alarms_memory_used_watermark", "rabbitmq_alarms_free_disk_space_watermark"}
ALERTS = sorted({rule["alert"] for rule in alerts()})
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
HEADINGS = ["What it means", "How to see it", "What to do", "When to escalate"]


def _known() -> set[str]:
    ours = {name for metric in described_metrics() for name in metric.series}
    return ours | BROKERS | {"up"} | {rule["record"] for rule in rules() if "record" in rule}


def test_the_names_in_an_expression_are_found() -> None:
    text = (
        'sum by (queue, le) (rate(a_total{b="c_d", e=~"f|g"}[5m])) / 0.1e3 > 1 '
        "and h:i:j1 offset 1h unless on (k) l == 2"
    )
    assert metrics_in(text) == {"a_total", "h:i:j1", "l"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    asked = metrics_in(rule["expr"])
    assert asked or rule["expr"] == "vector(1)"
    assert asked - _known() == set()


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    said = promtool("check", "config", FOLDER / "prometheus.yml")
    assert said.count("SUCCESS") == 1 + len(list((FOLDER / "rules").glob("*.yml"))) + 1
    assert len(TESTS) == 3


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_alerts_fire_and_do_not_fire(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_alert_is_tested_to_fire_and_not_to_fire() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    labels: set[tuple[str, str]] = set()
    for path in TESTS:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in group["alert_rule_test"]:
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
                labels |= {(case["alertname"], one["exp_labels"]["severity"]) for one in case["exp_alerts"]}
    assert fires == set(ALERTS)
    assert silent == set(ALERTS) - {"CarillonWatchdog"}  # which always fires
    assert labels == {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert [path.stem for path in PAGES] == sorted(page_name(alert) for alert in ALERTS)
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{page_name(rule['alert'])}.md"
        assert rule["labels"]["severity"] in {"page", "ticket", "none"}
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^- \[(\w+)\]\((.+)\.md\)$", index, re.MULTILINE) == [
        (alert, page_name(alert)) for alert in ALERTS
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_its_parts_and_names_what_exists(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    commands = list(commands_in(page))
    assert commands
    for command in commands:
        _check_command(command)
    queries = list(queries_in(page))
    assert queries or path.stem == "carillon-watchdog"
    for query in queries:
        assert metrics_in(query) - _known() == set(), query
    for target in re.findall(r"\]\(([^)#]+)\)", re.sub(r"`[^`\n]+`", "", page)):
        assert (path.parent / target).exists(), target


def test_every_query_of_the_pages_parses(tmp_path: Path) -> None:
    queries = [query for path in PAGES for query in queries_in(path.read_text(encoding="utf-8"))]
    assert len(queries) > 30
    made = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": made}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize("wrong", ["carillon bogus", "carillon dead-letters fly", "carillon status --nope"])
def test_a_command_that_does_not_exist_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        _check_command(wrong)


def _check_command(text: str) -> None:
    """Follow the command's words down the tree, and look its options up."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(text)[1:]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, text
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"{text}: names a group only"
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} - options == set(), text
