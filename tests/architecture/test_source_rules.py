"""Rules about the source that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from support.source_tree import ROOT, packages, parsed, project_files, python_files, shown, source_files

LONGEST_FILE = 400  # lines; past it a file does more than one thing
NAMES_THAT_SAY_NOTHING = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}
METRICS = ROOT / "shared/src/carillon_shared/telemetry/metrics.py"
METRIC_KINDS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
# A folder of one person's or one build's machine. Images have a file system of their own.
MACHINE_PATH = re.compile(r"(?<![\w.*${}-])/(?:root|work|Users|home/\w+)/[\w.]")
SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore)[^#]*")
SUPPRESSION_WITH_REASON = re.compile(
    r"#\s*(?:noqa:[ \w,]+(?:--?|#)\s*\w|type:\s*ignore\[[\w, -]+\]\s*#\s*\w).+"
)

IMPORTS_AND_REPORTS = """
import importlib, sys, threading

MEANINGFUL = {"socket.__new__", "socket.connect", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"}
seen = []

def hook(event, arguments):
    if event in MEANINGFUL or (event == "open" and set(str(arguments[1] or "")) & set("wax+")):
        seen.append(f"{event} {arguments[:1]}")

sys.addaudithook(hook)
for name in sys.argv[1:]:
    importlib.import_module(name)
seen += [f"thread {thread.name}" for thread in threading.enumerate() if thread is not threading.main_thread()]
sys.exit("\\n".join(seen) or 0)
"""


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {shown(path): {path.stem, *path.relative_to(ROOT).parts[:-1]} for path in python_files()}
    assert [path for path, names in named.items() if names & NAMES_THAT_SAY_NOTHING] == []


def test_no_file_is_longer_than_a_person_can_keep_in_mind() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert len(lengths) > 100
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize("package", sorted(packages()))
def test_importing_starts_nothing_and_reads_no_settings(package: str) -> None:
    modules = [name for name in packages()[package] if not name.endswith(".migrations.env")]
    done = subprocess.run(  # noqa: S603 - our own modules
        [sys.executable, "-B", "-c", IMPORTS_AND_REPORTS, *modules],
        env={"CARILLON_METRICS_PORT": "none", "CARILLON_CRASH_AT": "nowhere", "PATH": ""},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_migrations_have_one_head_and_one_root() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "shared/src/carillon_shared/db/migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1


def test_metrics_are_defined_in_one_file_and_named_after_us() -> None:
    made = {path: _metrics_made(path) for path in source_files()}
    assert [shown(path) for path, names in made.items() if names and path != METRICS] == []
    assert len(made[METRICS]) > 20
    assert [name for name in made[METRICS] if not name.startswith("carillon_")] == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    found = [
        f"{shown(path)}: {match.group()}"
        for path in project_files()
        if "Dockerfile" not in path.name
        for match in MACHINE_PATH.finditer(path.read_bytes().decode("utf-8", errors="replace"))
    ]
    assert found == []


def test_every_suppressed_check_says_why() -> None:
    found = [
        f"{shown(path)}:{number}"
        for path in python_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if SUPPRESSION.search(line) and not SUPPRESSION_WITH_REASON.search(line)
    ]
    assert found == []


def _metrics_made(path: Path) -> list[str]:
    imported = {
        alias.asname or alias.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client")
        for alias in node.names
        if alias.name in METRIC_KINDS
    }
    return [
        str(node.args[0].value)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and _name_of(node.func) in imported
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]


def _name_of(function: ast.expr) -> str | None:
    return function.id if isinstance(function, ast.Name) else None
