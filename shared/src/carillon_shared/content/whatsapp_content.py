"""A delivery's template as a WhatsApp message: one that Meta has approved, with parameters, or free text."""

from collections.abc import Mapping
from dataclasses import dataclass

from carillon_shared.content.scope import Scope, scope_of
from carillon_shared.domain.delivery import LeasedDelivery
from carillon_shared.domain.states import Reason

MAX_TEXT = 4_096
"""Characters of a text message (Cloud API, text object)."""

_OUTSIDE = "is missing, and free text may only answer somebody who wrote within the last 24 hours"


@dataclass(frozen=True, slots=True)
class ApprovedTemplate:
    """A template that Meta keeps, and what is filled into its body."""

    name: str
    language: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenderedWhatsapp:
    """What a WhatsApp message says: exactly one of the two is set."""

    template: ApprovedTemplate | None
    text: str | None


def render_whatsapp(delivery: LeasedDelivery, *, free_text: bool = True) -> RenderedWhatsapp:
    """Render a WhatsApp message: the text where free text is allowed and there is one, else the template.

    Raises `ContentError`; where free text is not allowed and there is no template, that it is missing.
    """
    scope = scope_of(delivery)
    content = scope.choice.content
    template = content.get("template")
    if isinstance(template, Mapping) and not (free_text and content.get("text") is not None):
        return RenderedWhatsapp(_approved(scope, template), None)
    if not free_text:
        raise scope.error("template", _OUTSIDE, reason=Reason.TEMPLATE_MISSING)
    text = scope.text("text", limit=MAX_TEXT).strip()
    if not text:
        raise scope.error("text", "is empty")
    return RenderedWhatsapp(None, text)


def _approved(scope: Scope, template: Mapping[str, object]) -> ApprovedTemplate:
    name, language = template.get("name"), template.get("language")
    sources = template.get("parameters", [])
    if not isinstance(name, str) or not isinstance(language, str) or not isinstance(sources, list | tuple):
        raise scope.error("template", "has no name, no language or no list of parameters")
    parameters = tuple(_parameter(scope, place, source) for place, source in enumerate(sources))
    return ApprovedTemplate(name, language, parameters)


def _parameter(scope: Scope, place: int, source: object) -> str:
    """Render one parameter: Meta refuses line breaks, tabs, runs of spaces and nothing at all in one."""
    field = f"template parameter {place + 1}"
    if not isinstance(source, str):
        raise scope.error(field, "is no text")
    value = scope.line(field, source)
    if not value:
        raise scope.error(field, "is empty")
    return value
