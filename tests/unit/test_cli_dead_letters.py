"""Commands that count, replay and discard dead letters."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from carillon_cli.__main__ import main
from support.scripted_http import ScriptedServer, scripted_server

COUNT = "/v1/admin/dead-letters:count"
REPLAY = "/v1/admin/dead-letters:replay"
DISCARD = "/v1/admin/dead-letters:discard"
OPERATION = "/v1/admin/operations/o-1"
PREVIEW = {"matched": 3, "acted": 2, "skipped": {"expired": 1}, "complete": True}
STARTED = {"operation_id": "o-1", "matched": 3}


def running(**changes: Any) -> dict[str, Any]:
    begun = {"id": "o-1", "status": "running", "matched": 3, "acted": 0, "skipped": {}, "error": None}
    return begun | changes


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    for name in [name for name in os.environ if name.startswith("CARILLON_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with scripted_server() as server:
        monkeypatch.setenv("CARILLON_API_URL", server.url)
        monkeypatch.setenv("CARILLON_API_KEY", "ck_test_key")
        yield server


def test_dead_letters_are_counted(api: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.answer("GET", COUNT, {"total": 3, "by_reason": {"poison": 1, "provider_rejected": 2}})
    assert main(["dead-letters", "count", "--channel", "email", "--reason", "poison"]) == 0
    assert capsys.readouterr().out.split() == [
        *("reason", "dead", "letters", "poison", "1", "provider_rejected", "2", "total", "3")
    ]
    assert "channel=email" in api.asked[0].path
    assert "reason=poison" in api.asked[0].path


def test_a_dry_run_only_asks_for_the_preview(api: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.answer("POST", REPLAY, PREVIEW)
    assert main(["dead-letters", "replay", "--dead-reason", "poison", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == PREVIEW
    assert [asked.body for asked in api.asked] == [
        {"filter": {"reason": "poison"}, "all": False, "dry_run": True}
    ]


def test_a_replay_is_watched_until_it_ends(api: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.answer("POST", REPLAY, PREVIEW)
    api.answer("POST", REPLAY, STARTED, status=202)
    api.answer("GET", OPERATION, running())
    api.answer("GET", OPERATION, running(status="done", acted=2, skipped={"expired": 1}))
    arguments = ["--channel", "email", "--reason", "mended", "--rate", "50", "--yes", "--json"]
    assert main(["dead-letters", "replay", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["acted"] == 2
    assert api.asked[1].body == {
        "filter": {"channel": "email"},
        "all": False,
        "reason": "mended",
        "rate_per_second": 50,
    }


def test_a_failed_operation_fails_the_command(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("POST", DISCARD, PREVIEW)
    api.answer("POST", DISCARD, STARTED, status=202)
    api.answer("GET", OPERATION, running(status="failed", error="DataError: no"))
    assert main(["dead-letters", "discard", "--all", "--reason", "old", "--yes"]) == 1
    assert "DataError: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--reason", "old", "--yes"],  # nothing chosen
        ["--all", "--yes"],  # no reason
        ["--all", "--reason", "old"],  # nobody to ask
    ],
)
def test_what_is_not_meant_is_not_done(api: ScriptedServer, arguments: list[str]) -> None:
    api.answer("POST", DISCARD, PREVIEW)
    assert main(["dead-letters", "discard", *arguments]) == 2
    assert all(asked.body["dry_run"] for asked in api.asked)


def test_nothing_that_matches_is_exit_code_4(api: ScriptedServer) -> None:
    api.answer("POST", REPLAY, {"matched": 0, "acted": 0, "skipped": {}, "complete": True})
    assert main(["dead-letters", "replay", "--all", "--reason", "mended", "--yes"]) == 4
    assert len(api.asked) == 1


def test_an_operation_is_shown_watched_and_stopped(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer("GET", OPERATION, running())
    api.answer("GET", OPERATION, running(status="done"))
    api.answer("DELETE", OPERATION, running(status="stopped"))
    assert main(["operations", "show", "o-1"]) == 0
    assert "running" in capsys.readouterr().out
    assert main(["operations", "show", "o-1", "--wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "done"
    assert main(["operations", "stop", "o-1"]) == 0
    assert "stopped" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_one_delivery_is_retried_or_cancelled(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    api.answer("POST", f"/v1/deliveries/d-1/{verb}", {"id": "d-1", "status": "as asked"})
    assert main(["deliveries", verb, "d-1", "--reason", "asked for"]) == 0
    assert "as asked" in capsys.readouterr().out
    assert api.asked[0].body == {"reason": "asked for"}


def test_a_replay_carries_what_is_put_right(api: ScriptedServer) -> None:
    api.answer("POST", REPLAY, PREVIEW | {"matched": 1, "acted": 1})
    api.answer("POST", REPLAY, STARTED, status=202)
    api.answer("GET", OPERATION, running(status="done", acted=1))
    given = ["--id", "d-1", "--email", "a@example.org", "--set-data", "n=7", "--set-data", "who=Bat"]
    assert main(["dead-letters", "replay", *given, "--reason", "typo", "--yes"]) == 0
    overrides = {"address": {"email": "a@example.org"}, "data": {"n": 7, "who": "Bat"}}
    for asked in api.asked[:2]:
        assert asked.body["filter"] == {"ids": ["d-1"]}
        assert asked.body["overrides"] == overrides


def test_data_without_a_key_is_wrong_use(api: ScriptedServer) -> None:
    for wrong in ("n", "=7"):
        given = ["--id", "d-1", "--set-data", wrong, "--reason", "x", "--yes"]
        assert main(["dead-letters", "replay", *given]) == 2
    assert api.asked == []


def test_a_reconciliation_shows_what_differed(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"email": {"agreed": 3, "stale": 1, "duplicate": 0, "missing": 2}}
    api.answer("POST", "/v1/admin/dead-letters:reconcile", STARTED, status=202)
    api.answer("GET", OPERATION, running(status="done", report=report))
    assert main(["dead-letters", "reconcile", "--channel", "email", "--dry-run"]) == 0
    assert capsys.readouterr().out.split() == [
        *("channel", "agreed", "stale", "duplicate", "missing", "email", "3", "1", "0", "2")
    ]
    assert api.asked[0].body == {"channel": "email", "dry_run": True}


def test_mending_queues_asks_first(api: ScriptedServer) -> None:
    assert main(["dead-letters", "reconcile"]) == 2
    assert api.asked == []


def test_an_export_goes_to_a_file(api: ScriptedServer, tmp_path: Path) -> None:
    api.answer("GET", "/v1/admin/dead-letters:export", {"id": "d-1"})
    out = tmp_path / "dead.jsonl"
    assert main(["dead-letters", "export", "--format", "jsonl", "--reveal", "--out", str(out)]) == 4
    assert json.loads(out.read_text()) == {"id": "d-1"}  # one line without an end: nothing to count
    assert "reveal=true" in api.asked[0].path


def test_poison_is_listed_and_discarded_with_a_reason(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": 7, "queue": "q", "message_type": None, "size": 3, "received_at": "now", "error": "no"}
    api.answer("GET", "/v1/admin/poison-messages", {"data": [row], "next_cursor": None})
    assert main(["dead-letters", "poison", "list"]) == 0
    assert capsys.readouterr().out.split()[-5:] == ["7", "q", "3", "now", "no"]
    assert main(["dead-letters", "poison", "discard", "7", "--yes"]) == 2
    assert main(["dead-letters", "poison", "discard", "--reason", "x", "--yes"]) == 2
    api.answer("POST", "/v1/admin/poison-messages:discard", {"discarded": 1})
    assert main(["dead-letters", "poison", "discard", "7", "--reason", "looked at", "--yes"]) == 0
    assert api.asked[-1].body == {"ids": [7], "queue": None, "all": False, "reason": "looked at"}


@pytest.mark.parametrize(
    ("preview", "shown"),
    [
        ({"rendered": {"subject": "For a***@e***.org", "html": None}, "error": None}, "For a***@e***.org"),
        ({"rendered": None, "error": "template_error: data.n is missing"}, "data.n is missing"),
        (None, "no longer kept"),
    ],
)
def test_a_dead_letter_is_shown_with_what_it_would_say(
    api: ScriptedServer, capsys: pytest.CaptureFixture[str], preview: Any, shown: str
) -> None:
    letter = {"id": "d-1", "reason": "template_error", "attempts": [], "preview": preview}
    api.answer("GET", "/v1/admin/dead-letters/d-1", letter)
    assert main(["dead-letters", "show", "d-1"]) == 0
    told = capsys.readouterr()
    assert shown in told.out + told.err
    assert "template_error" in told.out
    assert main(["dead-letters", "show", "d-1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == letter
