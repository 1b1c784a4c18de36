"""Writes JSON values as YAML 1.2 that people can read. Reading YAML is not needed anywhere."""

import json
import re
from collections.abc import Iterator
from typing import Any

# What every YAML reader takes for plain text; "yes" and its like are quoted.
_PLAIN = re.compile(r"[A-Za-z$][\w$/.-]*")
_WORDS_WITH_MEANING = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def yaml_text(value: Any) -> str:
    """Return a mapping, list or scalar of JSON as block-style YAML, keys in their order."""
    return "".join(f"{line.rstrip()}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _entry(f"{_scalar(key)}:", inner, indent="  ")
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _item(inner)
    else:
        yield _scalar(value)


def _entry(head: str, value: Any, *, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from (f"{indent}{line}" for line in _lines(value))
    elif _is_block(value):
        yield f"{head} |-"
        yield from (f"{indent}{line}" if line else "" for line in value.split("\n"))
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        first, *rest = _lines(value)
        yield f"- {first}"
        yield from (f"  {line}" for line in rest)
    else:
        yield f"- {_scalar(value)}"


def _is_block(value: Any) -> bool:
    """Tell whether a block of lines gives back exactly this text; other texts are quoted."""
    if not isinstance(value, str) or "\n" not in value:
        return False
    lines = value.split("\n")
    return bool(lines[0] and lines[-1]) and all(line == line.strip() and line.isprintable() for line in lines)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS_WITH_MEANING:
        return value
    return json.dumps(value, ensure_ascii=False)
