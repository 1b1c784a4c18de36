"""docs/reliability.md: every promise, invariant and fault has its row, and the tests that rows name exist."""

import re

import pytest
from support.source_tree import ROOT, functions_of

TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if re.match(r"\| [PIF]\d", line)]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FAULTS = 42


def _ids(letter: str) -> list[str]:
    return [row.split()[1] for row in ROWS if row.startswith(f"| {letter}")]


def test_every_promise_and_every_fault_has_one_row() -> None:
    assert _ids("P") == [f"P{number}" for number in range(1, 11)]
    assert _ids("F") == [f"F{number:02}" for number in range(1, FAULTS + 1)]


@pytest.mark.parametrize("row", [row for row in ROWS if row[2] in "IF"], ids=lambda row: row.split()[1])
def test_a_row_names_tests_that_exist(row: str) -> None:
    named = TEST.findall(row)
    assert named
    for file, name in named:
        assert name in functions_of(file), f"{file}::{name}"


def test_every_test_that_the_page_names_exists() -> None:
    missing = [f"{file}::{name}" for file, name in TEST.findall(TEXT) if name not in functions_of(file)]
    assert not missing
