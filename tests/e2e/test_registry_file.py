"""`carillon registry apply|diff|export` against a running platform."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.seen import Seen
from support.tenant import Tenant

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "registry.yaml"
COMMAND_SECONDS = 60.0


class Terminal:
    """A terminal of somebody who holds one tenant's key."""

    def __init__(self, platform: Seen, tenant: Tenant) -> None:
        self._environment = os.environ | {
            "CARILLON_API_URL": platform.api_url,
            "CARILLON_API_KEY": tenant.key,
        }

    def registry(self, *words: str | Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run `carillon registry`, which must exit with this code."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "carillon_cli", "registry", *map(str, words)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == code, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        return done

    def differences(self, file: Path) -> list[dict[str, Any]]:
        """Return what applying a file would change."""
        found: list[dict[str, Any]] = json.loads(self.registry("diff", file, "--json").stdout)
        return found


@pytest.fixture
async def terminal(platform: Seen) -> Terminal:
    return Terminal(platform, await platform.new_tenant())


def _changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "changed.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_that_is_new_is_told_as_new_and_nothing_is_stored(terminal: Terminal) -> None:
    before = terminal.registry("export").stdout
    assert {one["verb"] for one in terminal.differences(EXAMPLE)} == {"created", "changed"}
    assert terminal.registry("export").stdout == before


def test_what_was_applied_does_not_differ(terminal: Terminal) -> None:
    terminal.registry("apply", EXAMPLE)
    assert terminal.differences(EXAMPLE) == []
    told = terminal.registry("diff", EXAMPLE, "--check")
    assert told.stdout == ""
    assert told.stderr.startswith("0 of ")


def test_what_changed_is_shown_line_by_line(terminal: Terminal, tmp_path: Path) -> None:
    terminal.registry("apply", EXAMPLE)
    file = _changed(
        tmp_path,
        ("category: security", "category: safety"),
        ('title: "Ticket {{ data.ticket_id }} is', 'title: "Your ticket {{ data.ticket_id }} is'),
    )
    by_name = {one["what"]: one for one in terminal.differences(file)}
    assert list(by_name) == ["template ticket.status_changed/inapp/en", "event type auth.signed_in"]
    assert by_name["event type auth.signed_in"]["lines"] == ["-category: security", "+category: safety"]
    told = terminal.registry("diff", file, "--check", code=1)
    assert "changed    event type auth.signed_in\n    - category: security\n" in told.stdout
    terminal.registry("apply", file)
    assert terminal.differences(file) == []


def test_what_is_exported_makes_the_same_registry_elsewhere(
    platform: Seen, terminal: Terminal, other: Terminal, tmp_path: Path
) -> None:
    terminal.registry("apply", EXAMPLE)
    file = tmp_path / "exported.yaml"
    terminal.registry("export", "--out", file)
    assert terminal.differences(file) == []
    other.registry("apply", file)
    assert other.registry("export").stdout == file.read_text(encoding="utf-8")
    wanted = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["event_types"]
    exported = yaml.safe_load(file.read_text(encoding="utf-8"))["event_types"]
    assert {one["type"]: one["templates"] for one in exported} == {
        one["type"]: one["templates"] for one in wanted
    }


@pytest.fixture
async def other(platform: Seen) -> Terminal:
    return Terminal(platform, await platform.new_tenant())


def test_a_file_is_never_written_over(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("defaults: {}")
    assert "File exists" in terminal.registry("export", "--out", file, code=2).stderr
    assert file.read_text() == "defaults: {}"


@pytest.mark.parametrize("verb", ["diff", "apply"])
def test_what_the_api_refuses_is_told_with_file_and_line(
    terminal: Terminal, tmp_path: Path, verb: str
) -> None:
    file = _changed(tmp_path, ("channels: [inapp, email]", "channels: [inapp, pigeon]"))
    line = next(number for number, text in enumerate(file.read_text().splitlines(), 1) if "pigeon" in text)
    told = terminal.registry(verb, file, code=1).stderr
    assert f"{file}:{line}: event type ticket.status_changed: /channels/1" in told
    if verb == "apply":
        assert terminal.differences(EXAMPLE)  # what came before it in the file is registered
