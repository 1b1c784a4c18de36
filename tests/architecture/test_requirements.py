"""docs/requirements.md: every requirement has its row, and what a row names exists."""

import re
from dataclasses import dataclass

import pytest
from carillon_api.app import make_app
from support.environment_example import sections
from support.source_tree import ROOT, functions_of

DOCUMENT = ROOT / "docs" / "requirements.md"
COUNT = 122
ROW = re.compile(r"\| (R\d{3}) \| (.+?) \| (.+?) \| (.+) \|")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
DECISION = re.compile(r"\[decision\]\((decisions/\d{4}-[\w-]+\.md)\)")
PLANNED = re.compile(r"`planned: (?:issue \d+|no issue yet)`")
REMARK = re.compile(r"\([^()]*\)")
ROUTE = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^ `?]*)(?:\?[^`]*)?`")
FILE = re.compile(r"`((?:docs|examples|services|shared|deploy)/[^`]+|\.[a-z][\w.]+|README\.md)`")
SETTING = re.compile(r"`(CARILLON_[A-Z0-9_]+)(?:=\w+)?`")


@dataclass(frozen=True, slots=True)
class Row:
    """One requirement."""

    id: str
    text: str
    place: str
    proof: str

    @property
    def is_planned(self) -> bool:
        """Tell whether something of it is still to be built."""
        return "`planned:" in self.proof


ROWS = [Row(*match.groups()) for match in ROW.finditer(DOCUMENT.read_text(encoding="utf-8"))]
# Pages and probes are left out of the description.
UNDESCRIBED = {("GET", "/demo"), ("GET", "/metrics"), ("GET", "/livez"), ("GET", "/readyz")}


def _same(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


ROUTES = {(method, _same(path)) for method, path in UNDESCRIBED} | {
    (method.upper(), _same(path)) for path, item in make_app().openapi()["paths"].items() for method in item
}
SETTINGS = {variable.name for variables in sections().values() for variable in variables}


def test_every_requirement_has_one_row() -> None:
    assert [row.id for row in ROWS] == [f"R{number:03}" for number in range(1, COUNT + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_proven_replaced_or_planned(row: Row) -> None:
    assert TEST.search(row.proof) or DECISION.search(row.proof) or PLANNED.search(row.proof)
    rest = row.proof
    for known in (TEST, DECISION, PLANNED, REMARK):
        rest = known.sub("", rest)
    assert not rest.strip(), "what a row says besides tests, decisions and plans"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_what_a_row_names_exists(row: Row) -> None:
    for file, name in TEST.findall(row.proof):
        path = ROOT / file
        assert path.is_file(), file
        assert name in functions_of(file), f"{file}::{name}"
    for decision in DECISION.findall(row.proof):
        assert (DOCUMENT.parent / decision).is_file(), decision
    for setting in SETTING.findall(row.place):
        assert setting in SETTINGS, setting
    if not row.is_planned:
        for method, path in ROUTE.findall(row.place):
            assert (method, _same(path)) in ROUTES, f"{method} {path}"
        for file in FILE.findall(row.place):
            assert (ROOT / file).exists(), file
