"""What is checked when a template is saved: its shape, and every expression in it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from carillon_shared.content.compiled import MAX_FIELD, compile_text
from carillon_shared.content.errors import BrokenTemplateError, TemplateProblem
from carillon_shared.content.html_template import prepare
from carillon_shared.domain.channels import Channel

MAX_PARAMETERS: Final = 64

_FIELDS: dict[Channel, tuple[frozenset[str], frozenset[str]]] = {  # required, all
    Channel.EMAIL: (frozenset({"subject"}), frozenset({"subject", "html", "text", "layout"})),
    Channel.INAPP: (frozenset({"title"}), frozenset({"title", "body", "action_url"})),
    Channel.WHATSAPP: (frozenset(), frozenset({"template", "text"})),
}
_APPROVED_FIELDS = frozenset({"name", "language", "parameters"})


def lint_template(channel: Channel, content: Mapping[str, Any]) -> list[TemplateProblem]:
    """Return everything wrong with a template: unknown and missing fields, mistakes in expressions."""
    required, known = _FIELDS[channel]
    problems = [TemplateProblem(f"/{name}", "is unknown") for name in content if name not in known]
    problems += [TemplateProblem(f"/{name}", "is required") for name in required if not content.get(name)]
    problems += _whole(channel, content)
    for name in sorted(known & set(content)):
        if name == "template":
            problems += _approved(content[name])
        elif name == "layout":
            problems += _switch(content[name])
        else:
            problems += _expressions(f"/{name}", content[name], html=name == "html")
    return problems


def _whole(channel: Channel, content: Mapping[str, Any]) -> Iterator[TemplateProblem]:
    if channel is Channel.EMAIL and content.get("html") is None and content.get("text") is None:
        yield TemplateProblem("", "needs html or text")
    neither = content.get("template") is None and content.get("text") is None
    if channel is Channel.WHATSAPP and neither:
        yield TemplateProblem("", "needs a template, a text, or both: the text for those who wrote lately")


def _switch(value: Any) -> Iterator[TemplateProblem]:
    if not isinstance(value, bool):
        yield TemplateProblem("/layout", "is neither true nor false")


def _expressions(pointer: str, source: Any, *, html: bool = False) -> Iterator[TemplateProblem]:
    if source is None:
        return
    if not isinstance(source, str):
        yield TemplateProblem(pointer, "is no text")
        return
    if len(source) > MAX_FIELD:
        yield TemplateProblem(pointer, f"is longer than {MAX_FIELD} characters")
        return
    try:
        if html:
            prepare(source)
        else:
            compile_text(source, html=False)
    except BrokenTemplateError as error:
        for fault in error.faults:
            yield TemplateProblem(pointer, f"{fault.detail} (line {fault.line})")


def _approved(template: Any) -> Iterator[TemplateProblem]:
    if template is None:
        return
    if not isinstance(template, Mapping):
        yield TemplateProblem("/template", "is no object")
        return
    for name in template:
        if name not in _APPROVED_FIELDS:
            yield TemplateProblem(f"/template/{name}", "is unknown")
    for name in ("name", "language"):
        if not isinstance(template.get(name), str) or not template[name]:
            yield TemplateProblem(f"/template/{name}", "is required")
    yield from _parameters(template.get("parameters", []))


def _parameters(parameters: Any) -> Iterator[TemplateProblem]:
    if not isinstance(parameters, list) or len(parameters) > MAX_PARAMETERS:
        yield TemplateProblem("/template/parameters", f"is no list of at most {MAX_PARAMETERS} texts")
        return
    for place, source in enumerate(parameters):
        if source is None:
            yield TemplateProblem(f"/template/parameters/{place}", "is no text")
        yield from _expressions(f"/template/parameters/{place}", source)
