"""Templates, compiled once: checked, metered, and kept by their text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from jinja2 import Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.runtime import Context

from carillon_shared.content import filters, grammar
from carillon_shared.content.cache import cached
from carillon_shared.content.errors import BrokenTemplateError, ContentError, Fault
from carillon_shared.content.grammar import Path
from carillon_shared.content.sandbox import BUDGET, Missing, TemplateEnvironment, environment

MAX_FIELD = 100_000
"""Characters of one field of a template, as it is saved."""

MAX_SOURCE = 150_000
"""Characters of one field within its layout."""

MAX_MARKS = 2_000
"""Openings of `{{`, `{%` and `{#` in one field: bounds the time it takes to parse it."""

_RESULT = "result"
_ENDINGS = {
    "variable_begin": "variable_end",
    "block_begin": "block_end",
    "comment_begin": "comment_end",
    "raw_begin": "raw_end",
}


def _environment(*, html: bool) -> TemplateEnvironment:
    made = environment(html=html)
    made.filters.update(filters.filters(html=html))
    return made


_ENVIRONMENTS = {html: _environment(html=html) for html in (False, True)}


@dataclass(frozen=True, slots=True)
class CompiledText:
    """One field of a template, ready to render as often as wanted."""

    template: Template
    paths: tuple[Path, ...]
    filters: frozenset[str]

    @property
    def depends_on_subscriber(self) -> bool:
        """Whether it mentions the subscriber."""
        return any(path.parts[0] == "subscriber" for path in self.paths)

    @property
    def depends_on_formatting(self) -> bool:
        """Whether it writes dates or numbers in the recipient's way."""
        return not self.filters.isdisjoint(filters.LOCALIZED_NAMES)

    def render(self, variables: dict[str, Any], *, limit: int) -> str:
        """Return the text, at most `limit` characters. Raises `ContentError` for whatever goes wrong."""
        try:
            return self._rendered(variables, limit)
        except Exception as error:  # a template of a stranger may fail in any way
            raise self._explained(error, variables) from error

    def value(self, variables: dict[str, Any]) -> Any:
        """Return the value of a template made by `compile_expression`. Raises `ContentError`."""
        context = self._context(variables)
        try:
            for _ in self.template.root_render_func(context):
                pass
            result = context.vars[_RESULT]
            if isinstance(result, Missing):
                result.fail()
        except Exception as error:
            raise self._explained(error, variables) from error
        return result

    def _rendered(self, variables: dict[str, Any], limit: int) -> str:
        budget = variables[BUDGET]
        chunks: list[str] = []
        left = limit
        for chunk in self.template.root_render_func(self._context(variables)):
            chunks.append(chunk)
            left -= len(chunk)
            budget.spend(1)
            if left < 0:
                raise ContentError(f"renders to more than {limit} characters")
        return "".join(chunks)

    def _context(self, variables: dict[str, Any]) -> Context:
        return self.template.new_context(variables, shared=True)

    def _explained(self, error: Exception, variables: dict[str, Any]) -> ContentError:
        line = self._line(error.__traceback__)
        where = f" (line {line})" if line else ""
        if isinstance(error, ContentError):
            return ContentError(f"{error.detail}{where}", reason=error.reason)
        if isinstance(error, UndefinedError):
            name = self._missing(str(error.message), variables)
            hint = "use default(...) or `is defined` where it may be absent"
            return ContentError(f"{name} is missing{where}; {hint}")
        return ContentError(f"cannot be rendered: {type(error).__name__}{where}")

    def _line(self, trace: TracebackType | None) -> int | None:
        while trace is not None:
            if trace.tb_frame.f_globals.get("environment") is self.template.environment:
                return self.template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return None

    def _missing(self, name: str, variables: dict[str, Any]) -> str:
        """Return the whole path of the missing variable: the error itself knows the last part only."""
        absent = [path for path in self.paths if name in path.parts and not _resolves(path, variables)]
        return str(absent[0]) if absent else name


def _resolves(path: Path, variables: dict[str, Any]) -> bool:
    value: Any = variables
    for part in path.parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        else:
            return False
    return True


def compile_text(source: str, *, html: bool) -> CompiledText:
    """Compile a field of a template, once. Raises `BrokenTemplateError`."""
    kind = "html" if html else "text"
    return cached(kind, source, lambda: _compile(_parsed(source, html=html), html=html))


def compile_expression(source: str) -> CompiledText | None:
    """Compile a field that is one `{{ expression }}` and nothing else, for its value; None when it is not."""
    return cached("expression", source, lambda: _compile_expression(source))


def pieces_of_template(source: str) -> Iterator[tuple[str, bool]]:
    """Take a template apart into literal text (False) and `{{ }}`, `{% %}`, `{# #}` parts (True)."""
    part: list[str] = []
    ending = ""
    for _, kind, text in _ENVIRONMENTS[False].lex(source):
        part.append(text)
        if kind in _ENDINGS and not ending:
            ending = _ENDINGS[kind]
        elif kind == ending or not ending:
            yield "".join(part), bool(ending)
            part, ending = [], ""


def _compile_expression(source: str) -> CompiledText | None:
    tree = _parsed(source, html=False)
    expression = _only_expression(tree)
    if expression is None:
        return None
    target = nodes.Name(_RESULT, "store", lineno=1)
    body = nodes.Template([nodes.Assign(target, expression, lineno=1)], lineno=1)
    body.set_environment(_ENVIRONMENTS[False])
    return _compile(body, html=False)


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    if len(tree.body) != 1 or not isinstance(output := tree.body[0], nodes.Output):
        return None
    only = output.nodes[0] if len(output.nodes) == 1 else None
    return None if isinstance(only, nodes.TemplateData) else only


def _parsed(source: str, *, html: bool) -> nodes.Template:
    marks = source.count("{{") + source.count("{%") + source.count("{#")
    if len(source) > MAX_SOURCE or marks > MAX_MARKS:
        raise BrokenTemplateError([Fault(1, "is too large")])
    try:
        tree = _ENVIRONMENTS[html].parse(source)
    except TemplateSyntaxError as error:
        raise BrokenTemplateError([Fault(error.lineno, f"has a mistake: {error.message}")]) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise BrokenTemplateError([Fault(1, "is nested too deeply or has an impossible number")]) from error
    faults = grammar.check(tree, filters=filters.PUBLIC_NAMES)
    if faults:
        raise BrokenTemplateError(faults)
    return tree


def _compile(tree: nodes.Template, *, html: bool) -> CompiledText:
    made = _ENVIRONMENTS[html]
    paths, used = grammar.paths(tree), grammar.filters_used(tree)
    grammar.meter(tree, made)
    try:
        code = made.compile(tree)
    except (TemplateSyntaxError, SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise BrokenTemplateError([Fault(1, "is nested too deeply")]) from error
    return CompiledText(Template.from_code(made, code, {}), paths, used)
