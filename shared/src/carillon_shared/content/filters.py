"""The filters templates may use. Each pays for its work, and none makes text grow without bound."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from carillon_shared.content import localized
from carillon_shared.content.errors import ContentError
from carillon_shared.content.grammar import COMPARE_FILTER, LOOP_FILTER, SEARCH_FILTER
from carillon_shared.content.sandbox import BUDGET, FORMATTING, Missing, printed

MAX_TEXT = 1_000_000
"""Characters a filter may return."""

_CHARACTERS_PER_UNIT = 256

Filter = Callable[..., Any]


def _text(value: Any) -> str:
    return str(printed(value))


def _default(value: Any, fallback: Any = "") -> Any:
    return fallback if value is None or isinstance(value, Missing) else value


def _length(value: Any) -> int:
    return len(_sized(value, "counts"))


def _first(value: Any) -> Any:
    return next(iter(_sized(value, "takes the first of")), "")


def _last(value: Any) -> Any:
    items = _sized(value, "takes the last of")
    return items[-1] if items else ""


def _join(value: Any, separator: Any = ", ") -> str:
    between = _text(separator)
    texts = [_text(item) for item in _sized(value, "joins")]
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT:
        raise ContentError("joins too much text")
    return between.join(texts)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    if not old:
        raise ContentError("replaces empty text")
    if len(text) + text.count(old) * len(new) > MAX_TEXT:
        raise ContentError("replaces into too much text")
    return text.replace(old, new)


def _truncate(value: Any, length: Any = 255) -> str:
    text = _text(value)
    if type(length) is not int or length < 1:
        raise ContentError("truncates to a length that is no positive number")
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _items(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise ContentError("lists the items of something that is no object")
    return list(value.items())


def _sized(value: Any, verb: str) -> Any:
    if isinstance(value, str | list | tuple):
        return value
    if isinstance(value, Mapping):
        return list(value)
    raise ContentError(f"{verb} something that is no list")


def _breaks(value: Any) -> Markup:
    return Markup(str(escape(_text(value))).replace("\n", "<br>"))  # noqa: S704 # escaped just here


_PLAIN: dict[str, Filter] = {
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
    "capitalize": lambda value: _text(value).capitalize(),
    "title": lambda value: _text(value).title(),
    "trim": lambda value: _text(value).strip(),
    "truncate": _truncate,
    "replace": _replace,
    "urlencode": lambda value: quote(_text(value), safe=""),
    "join": _join,
    "length": _length,
    "first": _first,
    "last": _last,
    "items": _items,
}

_LOCALIZED: dict[str, Filter] = {
    "datetime": localized.written_datetime,
    "date": localized.written_date,
    "time": localized.written_time,
    "number": localized.written_number,
    "percent": localized.written_percent,
    "currency": localized.written_currency,
}

LOCALIZED_NAMES = frozenset(_LOCALIZED)
"""Filters whose result depends on the recipient's locale or time zone."""

PUBLIC_NAMES = frozenset({"default", "line_breaks", *_PLAIN, *_LOCALIZED})
"""The filters a template may name."""


def filters(*, html: bool) -> dict[str, Filter]:
    """Return the filters of an environment, metered."""
    plain = {**_PLAIN, "line_breaks": _breaks if html else _text}
    return {
        "default": _metered(_default, missing_too=True),
        **{name: _metered(function) for name, function in plain.items()},
        **{name: _formatted(function) for name, function in _LOCALIZED.items()},
        LOOP_FILTER: _loop,
        COMPARE_FILTER: _compare,
        SEARCH_FILTER: _search,
    }


def _metered(function: Filter, *, missing_too: bool = False) -> Filter:
    @pass_context
    def metered(context: Context, value: Any, *args: Any) -> Any:
        _pay(context, value)
        if not missing_too and isinstance(value, Missing):
            value.fail()
        return function(value, *args)

    return metered


def _formatted(function: Filter) -> Filter:
    @pass_context
    def formatted(context: Context, value: Any, *args: Any) -> Any:
        _pay(context, value)
        if isinstance(value, Missing):
            value.fail()
        if isinstance(value, list | tuple | Mapping):
            raise ContentError("formats a list or an object")
        return function(value, context.parent[FORMATTING], *args)

    return formatted


def _pay(context: Context, value: Any) -> None:
    size = len(value) if isinstance(value, str | list | tuple | Mapping) else 1
    share = size // _CHARACTERS_PER_UNIT if isinstance(value, str) else size
    context.parent[BUDGET].spend(1 + share)


@pass_context
def _loop(context: Context, value: Any, cost: int) -> Any:
    if isinstance(value, Missing):
        value.fail()
    if isinstance(value, str) or not isinstance(value, list | tuple | Mapping):
        raise ContentError("loops over something that is no list")
    context.parent[BUDGET].spend(len(value) * cost + 1)
    return list(value) if isinstance(value, Mapping) else value


@pass_context
def _compare(context: Context, value: Any) -> Any:
    if isinstance(value, list | tuple | Mapping):
        raise ContentError("compares a list or an object")
    _pay(context, value)
    return value


@pass_context
def _search(context: Context, value: Any) -> Any:
    if isinstance(value, Missing):
        value.fail()
    _pay(context, value)
    return value
