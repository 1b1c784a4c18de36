"""The examples of the guide: commands of `api` and `me` in a shell, and what they answer."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(
    r"(?:(?P<name>[A-Z]+)=\$\()?(?P<who>api|me) (?P<method>[A-Z]+) '?(?P<path>/[^\s']+)'?"
    r"(?: '(?P<body>.*)')?(?: \| jq -r \.(?P<taken>\w+)\))?(?: +# (?P<status>\d{3}))?",
    re.DOTALL,
)
ANYTHING = "…"


@dataclass(frozen=True, slots=True)
class Command:
    """One call. `name`: the variable that keeps the member `taken` of its answer."""

    who: str
    method: str
    path: str
    body: str | None
    status: int | None
    name: str | None
    taken: str | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the last answer says, among other things."""

    said: Any


def examples(page: Path) -> Iterator[Command | Expected]:
    """Yield the commands of a page and what is said of their answers, in their order."""
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "json":
            yield Expected(json.loads(text))
        else:
            yield from _commands(text)


def _commands(text: str) -> Iterator[Command]:
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        command = "\n".join(lines)
        if command.count("'") % 2 == 0:
            lines = []
            if "=$(date " not in command:
                yield _command(command)
    assert not lines, f"a quote is open: {lines[0]}"


def _command(text: str) -> Command:
    found = _COMMAND.fullmatch(text)
    assert found is not None, f"this is no call: {text}"
    status = found["status"]
    return Command(
        found["who"],
        found["method"],
        found["path"],
        found["body"],
        int(status) if status else None,
        found["name"],
        found["taken"],
    )


def filled(text: str, values: dict[str, str]) -> str:
    """Return a text with its shell variables filled in, within quotes ('$NAME') or without."""
    for name, value in values.items():
        text = text.replace(f"'${name}'", value).replace(f"${name}", value)
    return text


def says(answer: Any, expected: Any) -> bool:
    """Tell whether an answer has all that is expected of it; of a list, every element somewhere, in order."""
    if expected == ANYTHING:
        return bool(answer is not None)
    if isinstance(expected, dict):
        return isinstance(answer, dict) and all(
            name in answer and says(answer[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        if not expected or not isinstance(answer, list):
            return bool(answer == expected)
        left = iter(answer)
        return all(any(says(one, value) for one in left) for value in expected)
    return bool(answer == expected)
