"""A tenant's layout: what stands around every mail.

A template is put into its layout as text, before either is compiled. So style sheets, the derived plain text
and everything that is made ready once see one whole template, and a mail costs no more than without a layout.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from carillon_shared.content.compiled import compile_text
from carillon_shared.content.errors import BrokenTemplateError, TemplateProblem
from carillon_shared.content.html_template import prepare
from carillon_shared.content.locales import select_locale

MAX_LAYOUT: Final = 50_000
"""Characters of one field of a layout."""

_PLACE = re.compile(r"\{\{-?\s*content\s*-?\}\}")
_DOCUMENT = re.compile(r"<(?:!doctype\s|html[\s>])", re.IGNORECASE)
_SAMPLE: Final = "{{ data.content }}"  # an expression, to be refused where escaping cannot help


def lint_layout(layout: Mapping[str, Any]) -> list[TemplateProblem]:
    """Return everything wrong with a layout, for when it is saved."""
    problems = list(_field("/html", layout.get("html"), html=True))
    if layout.get("text") is not None:
        problems += _field("/text", layout["text"], html=False)
    return problems


def with_layouts(
    templates: Mapping[str, Mapping[str, Any]], layouts: Mapping[str, Mapping[str, Any]], default_locale: str
) -> Mapping[str, Mapping[str, Any]]:
    """Return mail templates by locale, each within the layout of its language."""
    if not layouts:
        return templates
    return {
        locale: in_layout(content, layouts[select_locale(layouts, locale, default_locale)])
        for locale, content in templates.items()
    }


def in_layout(content: Mapping[str, Any], layout: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mail template within a layout.

    HTML that is a whole document stays as it is, and so does a template that says `"layout": false`.
    """
    html, text = content.get("html"), content.get("text")
    if content.get("layout") is False or (isinstance(html, str) and _DOCUMENT.search(html)):
        return content
    made = dict(content)
    if isinstance(html, str):
        made["html"] = _filled(layout["html"], html)
    if isinstance(text, str) and layout.get("text") is not None:
        made["text"] = _filled(layout["text"], text)
    return made


def _filled(layout: str, content: str) -> str:
    return _PLACE.sub(lambda _: content, layout)


def _field(pointer: str, source: Any, *, html: bool) -> Iterator[TemplateProblem]:
    if not isinstance(source, str) or not source:
        yield TemplateProblem(pointer, "is required")
        return
    if len(source) > MAX_LAYOUT:
        yield TemplateProblem(pointer, f"is longer than {MAX_LAYOUT} characters")
        return
    if len(_PLACE.findall(source)) != 1:
        yield TemplateProblem(pointer, "needs {{ content }} in it, once: the place of each mail's own")
        return
    filled = _filled(source, _SAMPLE)
    try:
        (prepare(filled) if html else compile_text(filled, html=False))
    except BrokenTemplateError as error:
        for fault in error.faults:
            yield TemplateProblem(pointer, f"{fault.detail} (line {fault.line})")
