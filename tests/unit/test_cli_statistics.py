"""`carillon stats`: what is asked of the API, and how it is shown."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from carillon_cli.__main__ import main
from support.scripted_http import ScriptedServer, scripted_server

_LATENCY = {"p50": 0.25, "p95": 1, "p99": 2}
_FOUND = {
    "by": ["channel", "status"],
    "truncated": True,
    "data": [
        {"channel": "email", "status": "sent", "deliveries": 3, "attempts": 4, "latency": _LATENCY},
        {"channel": "email", "status": "held", "deliveries": 1, "attempts": 0, "latency": None},
    ],
}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    for name in [name for name in os.environ if name.startswith("CARILLON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with scripted_server() as server:
        monkeypatch.setenv("CARILLON_API_URL", server.url)
        monkeypatch.setenv("CARILLON_API_KEY", "ck_test_key")
        yield server


def test_groups_are_shown_with_their_latencies(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("GET", "/v1/stats", _FOUND)
    assert main(["stats", "--type", "ticket.changed"]) == 0
    shown = capsys.readouterr()
    header, sent, held = (line.split() for line in shown.out.splitlines())
    assert header == ["channel", "status", "deliveries", "attempts", "p50", "p95", "p99"]
    assert sent == ["email", "sent", "3", "4", "0.250", "1.000", "2.000"]
    assert held == ["email", "held", "1", "0"]
    assert "There is more" in shown.err
    assert "type=ticket.changed" in api.asked[0].path
    assert "by=channel%2Cstatus" in api.asked[0].path


def test_json_is_what_the_api_said(api: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.answer("GET", "/v1/stats", _FOUND)
    assert main(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == _FOUND


def test_nothing_to_count_is_exit_code_four(api: ScriptedServer) -> None:
    api.answer("GET", "/v1/stats", _FOUND | {"data": [], "truncated": False})
    assert main(["stats"]) == 4
