"""Explanations as people read them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

_MARKS = {"passed": "ok", "skip": "NO", "hold": "wait"}
_WIDTH = 4


def event_lines(what: str, steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the event is, and what it went through before anybody was decided about."""
    yield what
    width = max((len(step["what"]) for step in steps), default=0)
    for step in steps:
        yield f"  {moment(step['at']):<19}  {step['what']:<{width}}  {step['detail']}".rstrip()


def people_lines(rows: Sequence[Mapping[str, Any]], *, every_rule: bool) -> Iterator[str]:
    """Yield what was decided about each person, channel by channel; with every rule, or only the result."""
    width = max((len(row["channel"]) for row in rows), default=0)
    for person, of_person in groupby(rows, key=lambda row: row["subscriber"]):
        yield ""
        yield person
        for row in of_person:
            yield f"  {row['channel']:<{width}}  {row['decision']}  {row['summary']}"
            if every_rule:
                yield from _rules(row["steps"], indent=" " * (width + 4))
                yield from _history(row.get("history", ()), indent=" " * (width + 4))


def _rules(steps: Sequence[Mapping[str, Any]], *, indent: str) -> Iterator[str]:
    asked = [step for step in steps if step["verdict"] != "not_asked"]
    width = max((len(step["rule"]) for step in asked), default=0)
    for step in asked:
        mark, rule = _MARKS[step["verdict"]], _words(step["rule"])
        yield f"{indent}{mark:<{_WIDTH}}  {rule:<{width}}  {step['detail']}"
    others = [_words(step["rule"]) for step in steps if step["verdict"] == "not_asked"]
    if others:
        yield f"{indent}{'-':<{_WIDTH}}  not asked any more: {', '.join(others)}"


def _history(happenings: Sequence[Mapping[str, Any]], *, indent: str) -> Iterator[str]:
    for happening in happenings:
        detail = f": {happening['detail']}" if happening["detail"] else ""
        yield f"{indent}{moment(happening['at'])}  {happening['what']}{detail}"


def moment(text: str | None) -> str:
    """Return an RFC 3339 time without its fraction and letters, as people read it."""
    return text[:19].replace("T", " ") if text else ""


def _words(name: str) -> str:
    return name.replace("_", " ")
