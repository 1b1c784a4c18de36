import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from carillon_cli.__main__ import main
from carillon_cli.connection import CliFile, cli_file_path, read_cli_file, write_cli_file
from carillon_local import launcher
from carillon_local.launcher import Status
from support.scripted_http import ScriptedServer, scripted_server

NOWHERE = "http://127.0.0.1:1"
DELIVERY = {
    "id": "d-1",
    "event_id": "e-1",
    "subscriber": "bat",
    "channel": "email",
    "status": "dead",
    "reason": "retries_exhausted",
    "hold_reason": None,
    "attempt": 1,
    "attempts": [{"number": 1, "outcome": "retry", "provider": "smtp", "code": "451", "error": "Баярлалаа"}],
}


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout, and no settings."""
    for name in [name for name in os.environ if name.startswith("CARILLON_")]:
        monkeypatch.delenv(name)
    (tmp_path / "deploy" / "local").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        monkeypatch.setenv("CARILLON_API_URL", server.url)
        monkeypatch.setenv("CARILLON_API_KEY", "ck_test_key")
        yield server


def _file(folder: Path, content: Any) -> str:
    path = folder / "events.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["send"],
        ["tail"],
        ["dead-letters", "list", "--channel", "pigeon"],
        ["up", "--backend", "cloud"],
        ["keys", "create", "--tenant", "acme", "--scopes", "events:write,everything"],
        ["keys", "create", "--tenant", "acme", "--scopes", ","],
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_wrong_settings_are_exit_code_2_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARILLON_API_URL", "no address")
    assert main(["events", "show", "e-1"]) == 2
    assert "CARILLON_API_URL" in capsys.readouterr().err


def test_an_address_without_a_key_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARILLON_API_URL", NOWHERE)
    assert main(["events", "show", "e-1"]) == 2
    assert "CARILLON_API_KEY" in capsys.readouterr().err


def test_no_platform_at_all_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "show", "e-1"]) == 3
    assert "carillon up" in capsys.readouterr().err


def test_an_api_that_does_not_answer_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARILLON_API_URL", NOWHERE)
    monkeypatch.setenv("CARILLON_API_KEY", "ck_test_key")
    assert main(["dead-letters", "list"]) == 3
    captured = capsys.readouterr()
    assert NOWHERE in captured.err
    assert "ck_test_key" not in captured.out + captured.err


def test_a_database_that_does_not_answer_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_MIGRATION_DATABASE_URL", "postgresql://carillon_owner@127.0.0.1:1/carillon")
    monkeypatch.setenv("CARILLON_API_KEY_PEPPER", "p" * 32)
    assert main(["keys", "create", "--tenant", "acme", "--scopes", "operator"]) == 3
    assert main(["db", "check", "--wait", "0.1"]) == 3


def test_a_broker_that_does_not_answer_is_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")
    assert main(["topology", "check", "--wait", "0.1"]) == 3


def test_what_is_not_there_is_exit_code_4(api: ScriptedServer, checkout: Path) -> None:
    api.answer("GET", "/v1/admin/dead-letters", {"data": [], "next_cursor": None})
    assert main(["events", "show", "e-1"]) == 4
    assert main(["deliveries", "show", "d-1"]) == 4
    assert main(["dead-letters", "list", "--json"]) == 4
    assert main(["send", str(checkout / "missing.json")]) == 4
    assert main(["registry", "apply", str(checkout / "missing.yaml")]) == 4


def test_status_and_down_are_exit_code_4_when_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = Status(backend=None, running=False, ready=False, urls={}, processes={})
    monkeypatch.setattr(launcher, "status", lambda _: idle)
    monkeypatch.setattr(launcher, "down", lambda **_: False)
    assert main(["status", "--json"]) == 4
    assert main(["down"]) == 4


def test_a_refusal_is_exit_code_1_and_names_the_field(
    api: ScriptedServer, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [{"pointer": "/type", "detail": "is no registered event type"}]
    problem = {"title": "The request has invalid content.", "status": 422, "errors": faults}
    api.answer("POST", "/v1/events", problem, status=422)
    assert main(["send", _file(checkout, {"type": "nope", "data": {}})]) == 1
    assert "/type: is no registered event type" in capsys.readouterr().err


def test_sending_prints_the_answer_as_json(
    api: ScriptedServer, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("POST", "/v1/events", {"id": "e-1", "status": "accepted", "duplicate": False}, status=202)
    event = {"type": "message", "data": {"title": "Сайн уу"}}
    assert main(["send", _file(checkout, event), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"index": 0, "id": "e-1", "status": "accepted", "duplicate": False}
    ]
    assert api.asked[0].body == event
    assert api.asked[0].headers["authorization"] == "Bearer ck_test_key"


def test_events_come_from_standard_input_too(api: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer("POST", "/v1/events", {"id": "e-1", "status": "accepted", "duplicate": True}, status=202)
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "message", "data": {}}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(event)))
    assert main(["send", "-"]) == 0
    assert api.asked[0].headers["content-type"] == "application/cloudevents+json"


def test_a_long_list_goes_in_batches_and_keeps_its_numbers(
    api: ScriptedServer, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size in (1000, 3):
        rows = [
            {"index": index, "id": f"e-{index}", "status": "accepted", "duplicate": False}
            for index in range(size)
        ]
        api.answer("POST", "/v1/events", {"data": rows}, status=202)
    events = [{"type": "message", "data": {"n": n}} for n in range(1003)]
    assert main(["send", _file(checkout, events), "--json"]) == 0
    assert [len(asked.body) for asked in api.asked] == [1000, 3]
    assert [row["index"] for row in json.loads(capsys.readouterr().out)] == list(range(1003))


def test_a_batch_with_a_refused_event_is_exit_code_1(
    api: ScriptedServer, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"index": 0, "id": "e-1", "status": "accepted", "duplicate": False},
        {"index": 1, "problem": {"title": "Refused.", "status": 422}},
    ]
    api.answer("POST", "/v1/events", {"data": rows}, status=207)
    assert main(["send", _file(checkout, [{"type": "a", "data": {}}] * 2), "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == rows
    assert "1 of 2 events were refused" in captured.err


@pytest.mark.parametrize("content", [[{"type": "a"}, {"specversion": "1.0"}], ["text"], 7])
def test_what_is_no_event_is_exit_code_2(api: ScriptedServer, checkout: Path, content: Any) -> None:
    assert main(["send", _file(checkout, content)]) == 2
    assert api.asked == []


def test_dead_letters_are_listed_page_by_page(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    row = DELIVERY | {"event_type": "report.ready", "dead_at": "2026-11-21T10:00:00Z", "error": "451"}
    api.answer("GET", "/v1/admin/dead-letters", {"data": [row], "next_cursor": "more"})
    api.answer("GET", "/v1/admin/dead-letters", {"data": [row], "next_cursor": None})
    assert main(["dead-letters", "list", "--channel", "email", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert "channel=email" in api.asked[1].path
    assert "cursor=more" in api.asked[1].path


def test_a_delivery_is_shown_with_its_attempts_and_without_colours(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("GET", "/v1/deliveries/d-1", DELIVERY)
    assert main(["deliveries", "show", "d-1"]) == 0
    shown = capsys.readouterr().out
    assert "Баярлалаа" in shown
    assert "\x1b" not in shown


def test_an_event_is_shown_with_its_deliveries(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = {"total": 1, "by_status": {"dead": 1}, "percent": 100.0}
    event = {"id": "e-1", "type": "report.ready", "status": "completed", "progress": progress}
    api.answer("GET", "/v1/events/e-1", event)
    api.answer("GET", "/v1/deliveries", {"data": [DELIVERY], "next_cursor": None})
    assert main(["events", "show", "e-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == event | {"deliveries": [DELIVERY]}
    assert main(["events", "show", "e-1"]) == 0
    assert "retries_exhausted" in capsys.readouterr().out


def test_the_topology_is_shown_without_a_broker(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topology", "show", "--json"]) == 0
    names = {queue["name"] for queue in json.loads(capsys.readouterr().out)["queues"]}
    assert {"carillon.email.dead", "carillon.dispatch.critical"} <= names


def test_the_recorded_key_goes_to_the_recorded_address_only(
    checkout: Path, api: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cli_file(checkout, CliFile(api_url=NOWHERE, api_key="ck_recorded", tenant="demo"))
    monkeypatch.delenv("CARILLON_API_KEY")
    assert main(["events", "show", "e-1"]) == 2  # another address, and no key for it
    assert api.asked == []
    write_cli_file(checkout, CliFile(api_url=api.url, api_key="ck_recorded", tenant="demo"))
    assert main(["events", "show", "e-1"]) == 4
    assert api.asked[0].headers["authorization"] == "Bearer ck_recorded"


def test_the_recorded_key_is_for_its_owner_only(checkout: Path) -> None:
    content = CliFile(api_url=NOWHERE, api_key="ck_recorded", tenant="demo")
    write_cli_file(checkout, content)
    assert stat.S_IMODE(cli_file_path(checkout).stat().st_mode) == 0o600
    assert read_cli_file(checkout) == content
    assert "ck_recorded" not in repr(content)


def test_a_recorded_file_that_is_broken_counts_as_none(checkout: Path) -> None:
    cli_file_path(checkout).parent.mkdir()
    cli_file_path(checkout).write_text("{")
    assert read_cli_file(checkout) is None


def test_suppressions_are_listed_added_and_removed(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/v1/admin/suppressions"
    row = {"id": "s-1", "channel": "email", "address": "a***@e***.org", "reason": "bounced"}
    api.answer("GET", path, {"data": [row], "next_cursor": None})
    api.answer("POST", path, row, status=201)
    api.answer("DELETE", f"{path}/s-1", None, status=204)
    assert main(["suppressions", "list", "--because", "bounced"]) == 0
    assert "reason=bounced" in api.asked[-1].path
    assert "a***@e***.org" in capsys.readouterr().out
    add = ["suppressions", "add", "email", "--reason", "asked"]
    assert main(add) == 2
    assert main([*add, "--address", "anna@example.org"]) == 0
    assert api.asked[-1].body["address"] == "anna@example.org"
    assert main(["suppressions", "remove", "s-1", "--reason", "mended"]) == 2  # nobody can be asked
    assert main(["suppressions", "remove", "s-1", "--reason", "mended", "--yes"]) == 0
    assert api.asked[-1].path == f"{path}/s-1?reason=mended"


def test_a_registry_has_layouts(
    api: ScriptedServer, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, layout = "/v1/tenant/layouts/mn", {"html": "<p>{{ content }}</p>", "text": None}
    api.answer("PUT", path, layout | {"locale": "mn", "updated_at": "2026-11-21T10:00:00Z"})
    file = checkout / "registry.json"
    file.write_text(json.dumps({"layouts": {"mn": layout}}), encoding="utf-8")
    assert main(["registry", "apply", str(file)]) == 0
    assert (api.asked[-1].method, api.asked[-1].path, api.asked[-1].body) == ("PUT", path, layout)
    assert "layout mn" in capsys.readouterr().out
    row = layout | {"locale": "mn", "updated_at": "2026-11-21T10:00:00Z"}
    for empty in ("/v1/tenant/defaults", "/v1/event-types"):
        api.answer("GET", empty, {"data": [], "next_cursor": None})
    api.answer("GET", "/v1/tenant/origins", {"origins": []})
    api.answer("GET", "/v1/tenant/layouts", {"data": [row]})
    assert main(["registry", "export", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layouts"] == {"mn": {"html": "<p>{{ content }}</p>"}}
