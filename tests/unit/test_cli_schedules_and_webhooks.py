"""`carillon schedules`, `carillon webhooks` and `carillon events approve`: what is asked of the API."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from carillon_cli.__main__ import main
from support.scripted_http import ScriptedServer, scripted_server

_EVENT = {"type": "report.weekly", "data": {}}
_SCHEDULE = {
    "id": "s-1",
    "name": "weekly",
    "cron": "0 9 * * MON",
    "time_zone": "Europe/Berlin",
    "paused": False,
    "next_at": "2026-11-23T08:00:00Z",
    "last_at": None,
    "last_error": None,
}
_ENDPOINT = {
    "id": "w-1",
    "url": "https://hooks.example.org/",
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "states": ["dead"],
    "channels": ["email"],
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


def _file(folder: Path, content: Any = _EVENT) -> str:
    path = folder / "event.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_schedule_is_made_of_an_event_in_a_file(
    api: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("POST", "/v1/schedules", _SCHEDULE, status=201)
    arguments = ["0 9 * * MON", _file(tmp_path), "--time-zone", "Europe/Berlin", "--once", "--name", "weekly"]
    assert main(["schedules", "add", *arguments]) == 0
    assert api.asked[0].body == {
        "name": "weekly",
        "cron": "0 9 * * MON",
        "time_zone": "Europe/Berlin",
        "event": _EVENT,
        "on_missed": "once",
        "ends_at": None,
    }
    assert "s-1" in capsys.readouterr().out


def test_a_schedule_takes_one_event(api: ScriptedServer, tmp_path: Path) -> None:
    assert main(["schedules", "add", "0 9 * * *", _file(tmp_path, [_EVENT, _EVENT])]) == 2
    assert api.asked == []


def test_schedules_are_listed_paused_and_removed(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("GET", "/v1/schedules", {"data": [_SCHEDULE], "next_cursor": None})
    api.answer("PATCH", "/v1/schedules/s-1", _SCHEDULE | {"paused": True})
    api.answer("DELETE", "/v1/schedules/s-1", None, status=204)
    assert main(["schedules", "list"]) == 0
    assert "0 9 * * MON" in capsys.readouterr().out
    assert main(["schedules", "pause", "s-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paused"] is True
    assert main(["schedules", "resume", "s-1"]) == 0
    assert [asked.body for asked in api.asked[1:]] == [{"paused": True}, {"paused": False}]
    assert main(["schedules", "remove", "s-1", "--yes"]) == 0
    assert main(["schedules", "show", "s-2"]) == 4


def test_an_endpoint_is_added_and_its_secret_printed(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("POST", "/v1/webhook-endpoints", _ENDPOINT | {"secret": "whsec_x"}, status=201)
    url = "https://hooks.example.org/"
    assert main(["webhooks", "add", url, "--state", "dead", "--state", "failed", "--channel", "email"]) == 0
    assert api.asked[0].body == {
        "url": url,
        "description": "",
        "states": ["dead", "failed"],
        "channels": ["email"],
    }
    captured = capsys.readouterr()
    assert "whsec_x" in captured.out
    assert "not shown again" in captured.err


def test_endpoints_are_listed_switched_recovered_and_tried(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/v1/webhook-endpoints/w-1"
    message = {
        "id": "m-1",
        "type": "delivery.dead",
        "status": "failed",
        "attempt": 10,
        "code": 500,
        "due_at": None,
        "created_at": "2026-11-21T10:00:00Z",
        "error": "no",
    }
    api.answer("GET", "/v1/webhook-endpoints", {"data": [_ENDPOINT], "next_cursor": None})
    api.answer("PATCH", path, _ENDPOINT)
    api.answer("POST", f"{path}:recover", {"recovered": 3})
    api.answer("POST", f"{path}:rotate-secret", {"secret": "whsec_y", "old_secret_until": "then"})
    api.answer("POST", f"{path}:test", {"message_id": "m-2"}, status=202)
    api.answer("GET", f"{path}/messages", {"data": [message], "next_cursor": None})
    api.answer("DELETE", path, None, status=204)
    assert main(["webhooks", "list"]) == 0
    assert main(["webhooks", "disable", "w-1"]) == 0
    assert main(["webhooks", "enable", "w-1"]) == 0
    assert [asked.body for asked in api.asked[1:]] == [{"enabled": False}, {"enabled": True}]
    assert main(["webhooks", "recover", "w-1", "--since", "2026-11-21T10:00:00Z"]) == 0
    assert api.asked[-1].body == {"since": "2026-11-21T10:00:00Z"}
    assert main(["webhooks", "rotate", "w-1"]) == 0
    assert main(["webhooks", "test", "w-1"]) == 0
    capsys.readouterr()
    assert main(["webhooks", "messages", "w-1", "--status", "failed"]) == 0
    assert "delivery.dead" in capsys.readouterr().out
    assert "status=failed" in api.asked[-1].path
    assert main(["webhooks", "remove", "w-1", "--yes"]) == 0


@pytest.mark.parametrize(("verb", "status"), [("approve", "accepted"), ("reject", "rejected")])
def test_an_event_is_decided_about_with_a_reason(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str], verb: str, status: str
) -> None:
    api.answer("POST", f"/v1/events/e-1/{verb}", {"id": "e-1", "status": status})
    assert main(["events", verb, "e-1", "--reason", "seen"]) == 0
    assert api.asked[0].body == {"reason": "seen"}
    assert status in capsys.readouterr().out
