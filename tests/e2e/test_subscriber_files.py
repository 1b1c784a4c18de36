"""`carillon subscribers import|export` against a running platform."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.seen import Seen
from support.tenant import Tenant

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "import-and-export.md"
COMMAND_SECONDS = 60.0
PEOPLE = 4_500  # more than two requests


class Terminal:
    """A terminal of somebody who holds one tenant's key."""

    def __init__(self, platform: Seen, tenant: Tenant, folder: Path) -> None:
        self._folder = folder
        self._environment = os.environ | {
            "CARILLON_API_URL": platform.api_url,
            "CARILLON_API_KEY": tenant.key,
        }

    def run(self, *words: str, code: int = 0, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run `carillon`, which must exit with this code."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "carillon_cli", *words],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            input=given,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode == code, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        return done

    def subscribers(self, *words: str, code: int = 0, given: str | None = None) -> str:
        """Run `carillon subscribers` and return what it printed."""
        return self.run("subscribers", *words, code=code, given=given).stdout


@pytest.fixture
async def terminal(platform: Seen, tmp_path: Path) -> Terminal:
    return Terminal(platform, await platform.new_tenant(), tmp_path)


def _blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return found


def test_the_guides_example_does_what_it_says(terminal: Terminal, tmp_path: Path) -> None:
    people, commands, expected = *_blocks("csv"), *_blocks("sh"), *_blocks("text")
    (tmp_path / "people.csv").write_text(people, encoding="utf-8")
    codes = [1, 1, 0, 0]  # two lines are refused
    runs = [
        terminal.run(*command.split()[1:], code=code)
        for command, code in zip(commands.splitlines(), codes, strict=True)
    ]
    for run in runs[:2]:
        summary = run.stderr.splitlines()[0]
        assert f"{run.stdout}{summary}\n" == expected
    header, *rows = people.splitlines(keepends=True)
    assert (tmp_path / "rejected.csv").read_text(encoding="utf-8") == header + "".join(rows[1:])
    [anna] = map(json.loads, (tmp_path / "backup.jsonl").read_text(encoding="utf-8").splitlines())
    assert (anna["id"], anna["roles"], anna["attributes"]) == ("anna", ["support"], {"name": "Анна"})
    assert runs[3].stderr.startswith("created 0  updated 0  unchanged 1  refused 0")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_a_large_file_goes_out_and_comes_in_the_same(
    terminal: Terminal, platform: Seen, tmp_path: Path, form: str
) -> None:
    people = [
        {"id": f"u-{n}", "phone": f"+9769911{n:04}", "attributes": {"name": f"Өлзий, {n}"}, "roles": ["r"]}
        for n in range(PEOPLE)
    ]
    lines = "".join(json.dumps(person) + "\n" for person in people)
    said = json.loads(terminal.subscribers("import", "-", "--format", "jsonl", "--json", given=lines))
    assert (said["created"], said["errors"]) == (PEOPLE, [])
    terminal.subscribers("export", "--out", f"first.{form}")
    other = Terminal(platform, await platform.new_tenant(), tmp_path)
    # As after a run that broke off: a part is there already.
    header = 1 if form == "csv" else 0
    begun = (tmp_path / f"first.{form}").read_text(encoding="utf-8").splitlines(keepends=True)[: 700 + header]
    other.subscribers("import", "-", "--format", form, given="".join(begun))
    said = json.loads(other.subscribers("import", f"first.{form}", "--json"))
    assert (said["created"], said["unchanged"], said["refused"]) == (PEOPLE - 700, 700, 0)
    other.subscribers("export", "--out", f"second.{form}")
    assert (tmp_path / f"second.{form}").read_bytes() == (tmp_path / f"first.{form}").read_bytes()
    assert (tmp_path / f"second.{form}").stat().st_mode & 0o077 == 0


def test_every_bad_line_is_told_with_the_line_of_the_file(terminal: Terminal, tmp_path: Path) -> None:
    bad = {1, 2_001, 4_000}
    lines = [json.dumps({"id": f"u-{n}"} | ({"email": "x"} if n in bad else {})) for n in range(1, PEOPLE)]
    (tmp_path / "people.jsonl").write_text("\n".join(lines), encoding="utf-8")
    said = json.loads(terminal.subscribers("import", "people.jsonl", "--json", code=1))
    assert [error["line"] for error in said["errors"]] == sorted(bad)
    assert said["errors"][0]["faults"] == [{"column": "email", "detail": "is no e-mail address"}]
    later = terminal.subscribers("import", "people.jsonl", "--from-line", "4001", "--json")
    assert json.loads(later)["unchanged"] == PEOPLE - 1 - 4_000


def test_excel_gets_its_mark_and_gives_it_back(terminal: Terminal, tmp_path: Path) -> None:
    terminal.subscribers("import", "-", "--format", "csv", given="id,attributes.name\nanna,Өнөр\n")
    terminal.subscribers("export", "--excel", "--out", "people.csv")
    assert (tmp_path / "people.csv").read_bytes().startswith(b"\xef\xbb\xbfid,")
    assert '"unchanged": 1' in terminal.subscribers("import", "people.csv", "--json")


def test_wrong_use_is_told_before_anything_is_sent(terminal: Terminal, tmp_path: Path) -> None:
    terminal.subscribers("import", "nothing.csv", code=4)
    terminal.subscribers("export", code=4)
    (tmp_path / "people.txt").write_text("id\nanna\n", encoding="utf-8")
    terminal.subscribers("import", "people.txt", code=2)
    terminal.subscribers("export", "--excel", "--format", "jsonl", code=2)
    (tmp_path / "empty.csv").write_text("id\n", encoding="utf-8")
    terminal.subscribers("import", "empty.csv", code=4)
    (tmp_path / "wrong.csv").write_text("id,fax\nanna,1\n", encoding="utf-8")
    assert "/fax" in terminal.run("subscribers", "import", "wrong.csv", code=1).stderr
    terminal.subscribers("import", "wrong.csv", "--rejects", "wrong.csv", code=2)
