"""The alerting rules of deploy/prometheus, and what their expressions ask for."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from support.source_tree import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"

_TEXTS = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_LABELS = re.compile(r"\{[^{}]*\}|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_WINDOWS = re.compile(r"\[[^\[\]]*\]|\boffset\s+\w+")
_NAME = re.compile(r"(?<![a-zA-Z0-9_:.])[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\(|[a-zA-Z0-9_:])")
_SERIES = re.compile(r"carillon[_:]|rabbitmq_|\bup\{")
_WORDS = {"and", "or", "unless", "bool", "inf", "nan", "by", "without", "on", "ignoring", "offset"}


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file, recording and alerting."""
    files = sorted((FOLDER / "rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the rules that raise alerts. Several may have one name."""
    return [rule for rule in rules() if "alert" in rule]


def metrics_in(expression: str) -> set[str]:
    """Return the names of all series that an expression of PromQL asks for."""
    bare = _WINDOWS.sub(" ", _LABELS.sub(" ", _TEXTS.sub('""', expression)))
    return {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}


def page_name(alert: str) -> str:
    """Return an alert's name in kebab case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()


def commands_in(page: str) -> Iterator[str]:
    """Yield the `carillon` commands of a page: lines of its code blocks, and words in backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    yield from (line for block in blocks for line in block.splitlines() if line.startswith("carillon "))
    outside = re.sub(r"^```\w*\n.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`(carillon [^`]+)`", outside)


def queries_in(page: str) -> Iterator[str]:
    """Yield what stands in backticks and asks for metrics of ours or of the broker."""
    outside = re.sub(r"^```\w*\n.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    yield from (text for text in re.findall(r"`([^`]+)`", outside) if _SERIES.search(text))
