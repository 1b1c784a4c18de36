"""The environments tenants' templates run in. See docs/decisions/0002-template-language.md.

Jinja2's own sandbox is the outer fence only. Inside it, `grammar` admits a small part of the language,
and the look-up here reaches keys of JSON values and nothing of Python: no attribute of any object can
be named, except those of `loop` that are listed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Undefined
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from carillon_shared.content.errors import ContentError

LOOP_FIELDS = frozenset({"index", "index0", "first", "last", "length", "revindex"})
"""What a template may ask of `loop`."""

BUDGET = " budget"
"""Where the rendering's `Budget` is kept; the space makes it a name no template can say."""

FORMATTING = " formatting"
"""Where the recipient's `Formatting` is kept."""


class Missing(StrictUndefined):
    """A variable that is not there: an error wherever it is used, except in `default` and `is defined`."""

    @property
    def name(self) -> str:
        """The last part of the variable's path."""
        return str(self._undefined_name)

    def fail(self) -> NoReturn:
        """Raise `jinja2.UndefinedError`."""
        raise self._undefined_exception(self.name)

    @property
    def _undefined_message(self) -> str:
        return self.name


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Looks names up in JSON values only."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the value at a key, or a `Missing`."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return the value at a key or place, or a `Missing`."""
        if type(obj) is dict or isinstance(obj, Mapping):  # the first is quick and nearly always true
            if isinstance(argument, str) and argument in obj:
                return obj[argument]
        elif isinstance(obj, list | tuple):
            if type(argument) is int and -len(obj) <= argument < len(obj):
                return obj[argument]
        elif isinstance(obj, LoopContext):
            if argument in LOOP_FIELDS:
                return getattr(obj, argument)
        elif isinstance(obj, Undefined):
            return obj  # so that `data.a.b | default("x")` works when there is no `a`
        return self.undefined(obj=obj, name=str(argument))


def printed(value: Any) -> Any:
    """Return what `{{ value }}` prints. Raises for a missing variable, a list, an object."""
    kind = type(value)
    if kind is str or kind is Markup:
        return value
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if isinstance(value, Missing):
        value.fail()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping | list | tuple):
        kind_name = "an object" if isinstance(value, Mapping) else "a list"
        raise ContentError(f"prints {kind_name}; name one of its fields, or loop over it")
    if kind is int or kind is float:
        return str(value)
    raise ContentError("prints something that is no value")


def environment(*, html: bool) -> TemplateEnvironment:
    """Return a bare environment: no globals, no filters, no tests but those that are registered later."""
    made = TemplateEnvironment(
        autoescape=html, undefined=Missing, finalize=printed, cache_size=0, auto_reload=False
    )
    made.globals.clear()
    made.filters.clear()
    return made
