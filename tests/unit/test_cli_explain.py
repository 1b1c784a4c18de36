"""`carillon explain`: what a person reads."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from carillon_cli.__main__ import main
from carillon_shared.domain.rules import Rule
from support.scripted_http import ScriptedServer, scripted_server

_EVENT = {"type": "ticket.changed", "data": {}}
_EXPLAIN = "/v1/events:explain"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    for name in [name for name in os.environ if name.startswith("CARILLON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with scripted_server() as server:
        monkeypatch.setenv("CARILLON_API_URL", server.url)
        monkeypatch.setenv("CARILLON_API_KEY", "ck_test_key")
        yield server


def _steps(decider: Rule | None, verdict: str) -> list[dict[str, str]]:
    steps, said = [], "passed"
    for rule in Rule:
        word = verdict if rule is decider else said
        steps.append({"rule": rule.value, "verdict": word, "detail": f"about {rule}"})
        said = "not_asked" if rule is decider else said
    return steps


def _row(
    subscriber: str, channel: str, decision: str = "send", *, rule: Rule | None = None
) -> dict[str, Any]:
    return {
        "subscriber": subscriber,
        "channel": channel,
        "decision": decision,
        "summary": "Goes out." if rule is None else f"Not sent: {rule}.",
        "steps": _steps(rule, decision),
    }


def _dry_run(*rows: dict[str, Any], **fields: Any) -> dict[str, Any]:
    steps = [{"what": "accepted", "at": "2026-11-21T10:00:00Z", "detail": "would be taken, and committed"}]
    answer = {
        "result": "accepted",
        "problem": None,
        "event_id": None,
        "status": "accepted",
        "truncated": False,
    }
    return answer | {"steps": steps, "people": len(rows), "data": list(rows)} | fields


def _file(folder: Path, content: Any = _EVENT) -> str:
    path = folder / "event.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_dry_run_shows_every_rule_up_to_the_one_that_decided(
    api: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = _row("u-2", "email", "skip", rule=Rule.PREFERENCE)
    api.answer("POST", _EXPLAIN, _dry_run(_row("u-2", "inapp"), skipped))
    assert main(["explain", "--dry-run", _file(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "ticket.changed  not sent, a dry run  for 2 people"
    assert "  email  skip  Not sent: preference." in shown
    assert [line.split()[:2] for line in shown if " NO " in line] == [["NO", "preference"]]
    assert shown[-1].strip() == "-     not asked any more: condition, quiet hours, digest, limit"


def test_of_many_people_only_the_results_are_shown(
    api: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [_row(f"u-{n}", "email") for n in range(9)]
    api.answer("POST", _EXPLAIN, _dry_run(*rows, truncated=True))
    assert main(["explain", "--dry-run", _file(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Goes out.") == 9
    assert "about" not in shown
    assert "Only the first people are shown" in shown
    assert main(["explain", "--dry-run", _file(tmp_path), "--rules"]) == 0
    assert "about preference" in capsys.readouterr().out


def test_one_person_is_asked_about_by_name(
    api: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("POST", _EXPLAIN, _dry_run())
    assert main(["explain", "--dry-run", _file(tmp_path), "--user", "u 7&x"]) == 0
    assert api.asked[0].path == "/v1/events:explain?subscriber=u%207%26x"
    assert "u 7&x is not in its audience." in capsys.readouterr().out


def test_what_would_be_refused_fails_and_names_the_field(
    api: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [{"pointer": "/type", "detail": "is no registered event type"}]
    problem = {"title": "The request has invalid content.", "status": 422, "errors": faults}
    api.answer("POST", _EXPLAIN, _dry_run(result="refused", problem=problem))
    assert main(["explain", "--dry-run", _file(tmp_path)]) == 1
    assert "/type: is no registered event type" in capsys.readouterr().err


def test_an_event_that_was_sent_before_is_pointed_at(
    api: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("POST", _EXPLAIN, _dry_run(result="duplicate", event_id="e-1"))
    assert main(["explain", "--dry-run", _file(tmp_path)]) == 0
    assert "carillon explain e-1" in capsys.readouterr().out


def test_a_sent_event_is_explained_with_what_happened(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    history = [
        {"at": "2026-11-21T10:00:00Z", "what": "planned", "detail": None},
        {"at": "2026-11-21T10:00:01Z", "what": "attempt 1", "detail": "retry: 451 Баярлалаа"},
    ]
    explanation: dict[str, Any] = {
        "event_id": "e-1",
        "type": "ticket.changed",
        "status": "dispatched",
        "steps": [],
        "data": [_row("u-2", "email") | {"history": history}],
        "next_cursor": None,
        "note": None,
    }
    api.answer("GET", "/v1/events/e-1/explain", explanation)
    assert main(["explain", "e-1", "--user", "u-2"]) == 0
    shown = capsys.readouterr().out
    assert "2026-11-21 10:00:01  attempt 1: retry: 451 Баярлалаа" in shown
    assert "\x1b" not in shown
    assert "subscriber=u-2" in api.asked[0].path
    assert main(["explain", "e-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == explanation


def test_an_event_without_decisions_says_why(api: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    explanation: dict[str, Any] = {
        "event_id": "e-1",
        "type": "ticket.changed",
        "status": "scheduled",
        "steps": [],
        "data": [],
        "next_cursor": None,
        "note": "Nobody is decided about yet: the event is not due.",
    }
    api.answer("GET", "/v1/events/e-1/explain", explanation)
    assert main(["explain", "e-1"]) == 0
    assert "the event is not due" in capsys.readouterr().out


@pytest.mark.parametrize("content", [[], [_EVENT, _EVENT]])
def test_a_dry_run_takes_one_event_only(api: ScriptedServer, tmp_path: Path, content: Any) -> None:
    assert main(["explain", "--dry-run", _file(tmp_path, content)]) in {2, 4}
    assert api.asked == []


def test_explain_wants_an_event_or_a_file(api: ScriptedServer, tmp_path: Path) -> None:
    assert main(["explain"]) == 2
    assert main(["explain", "e-1", "--dry-run", _file(tmp_path)]) == 2
    assert api.asked == []
    assert main(["explain", "e-1"]) == 4
