"""Audience rules of an event type, filled from an event's data."""

from collections.abc import Iterator, Mapping
from typing import Any

from carillon_shared.content.budget import Budget
from carillon_shared.content.compiled import compile_expression, compile_text
from carillon_shared.content.errors import BrokenTemplateError, ContentError, TemplateProblem
from carillon_shared.content.localized import formatting
from carillon_shared.content.sandbox import BUDGET, FORMATTING

MAX_NAME = 1_000
"""Characters of an id, role or topic."""

MAX_ENTRIES = 10_000
"""Entries one list of a rule may come to."""

_LISTS = frozenset({"users", "roles", "topics", "exclude"})


def render_audience_rule(rule: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Fill a rule's `{{ }}` from an event's data; the result has the shape of an event's `audience`.

    An entry that is one expression keeps its value: a list becomes many entries, null none, a number its
    digits. Raises `ContentError` for a variable that is missing, or a value that names nobody.
    """
    variables = {
        "data": data,
        BUDGET: Budget(),
        FORMATTING: formatting(locales=(), time_zones=()),
    }
    return {key: _field(key, value, variables) for key, value in rule.items()}


def lint_audience_rule(rule: Mapping[str, Any]) -> list[TemplateProblem]:
    """Return what is wrong with a rule's expressions, for when the event type is saved."""
    problems: list[TemplateProblem] = []
    for pointer, source in _strings(rule, ""):
        try:
            compiled = compile_text(source, html=False)
        except BrokenTemplateError as error:
            problems += [TemplateProblem(pointer, fault.detail) for fault in error.faults]
            continue
        problems += [
            TemplateProblem(pointer, f"mentions {path}; an audience rule sees data only")
            for path in compiled.paths
            if path.parts[0] != "data"
        ]
    return problems


def _field(key: str, value: Any, variables: dict[str, Any]) -> Any:
    if key not in _LISTS or not isinstance(value, list | tuple):
        return value
    entries = [entry for item in value for entry in _entries(key, item, variables)]
    if len(entries) > MAX_ENTRIES:
        raise ContentError(f"audience {key}: comes to more than {MAX_ENTRIES} entries")
    return entries


def _entries(key: str, item: Any, variables: dict[str, Any]) -> Iterator[Any]:
    if isinstance(item, Mapping):
        yield {name: _person_field(key, value, variables) for name, value in item.items()}
        return
    if not isinstance(item, str):
        yield item
        return
    value = _value(key, item, variables)
    for each in value if isinstance(value, list | tuple) else [value]:
        if each is not None:
            yield _named(key, item, each)


def _person_field(key: str, value: Any, variables: dict[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    filled = _value(key, value, variables)
    return filled if filled is None or isinstance(filled, str) else _named(key, value, filled)


def _named(key: str, source: str, value: Any) -> Any:
    if isinstance(value, Mapping) and key in {"users", "exclude"}:
        return dict(value)  # a person given inline
    if isinstance(value, bool | float | Mapping | list | tuple):
        raise ContentError(f"audience {key}: {source} is no id")
    name = str(value)
    if not name.strip() or len(name) > MAX_NAME:
        raise ContentError(f"audience {key}: {source} is empty or longer than {MAX_NAME} characters")
    return name


def _value(key: str, source: str, variables: dict[str, Any]) -> Any:
    try:
        expression = compile_expression(source)
        if expression is not None:
            return expression.value(variables)
        return compile_text(source, html=False).render(variables, limit=MAX_NAME)
    except BrokenTemplateError as error:
        raise ContentError(f"audience {key}: {source} {error}") from error
    except ContentError as error:
        raise ContentError(f"audience {key}: {error.detail}", reason=error.reason) from error


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _strings(inner, f"{pointer}/{name}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _strings(inner, f"{pointer}/{place}")
