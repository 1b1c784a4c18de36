"""A delivery's template as a mail's subject, HTML and text."""

from dataclasses import dataclass

from carillon_shared.content.errors import ContentError
from carillon_shared.content.html_template import HtmlTemplate, prepare
from carillon_shared.content.markup import text_of, tidy
from carillon_shared.content.scope import Scope, scope_of
from carillon_shared.domain.delivery import LeasedDelivery


@dataclass(frozen=True, slots=True)
class RenderedEmail:
    """What a mail says."""

    subject: str  # one line, no control characters
    html: str | None
    text: str


def render_email(delivery: LeasedDelivery, *, unsubscribe_url: str | None = None) -> RenderedEmail:
    """Render a mail, which sees the link as `subscriber.unsubscribe_url`. Raises `ContentError`."""
    scope = scope_of(delivery)
    scope.variables["subscriber"]["unsubscribe_url"] = unsubscribe_url
    subject = scope.line("subject")
    if not subject:
        raise scope.error("subject", "is empty")
    html, derived = _html(scope)
    text = scope.text("text") if scope.choice.content.get("text") is not None else derived
    if text is None:
        raise scope.error("html", "is missing, and so is a text")
    return RenderedEmail(subject, html, text)


def _html(scope: Scope) -> tuple[str | None, str | None]:
    """Return the HTML and the text that is derived from it, unless the template has its own."""
    if scope.choice.content.get("html") is None:
        return None, None
    source = scope.source("html")
    html = _finished(scope, scope.rendered("html", lambda: prepare(source).body), prepare(source))
    if scope.choice.content.get("text") is not None:
        return html, None
    derived = prepare(source).text
    return html, text_of(html) if derived is None else tidy(scope.rendered("html as text", lambda: derived))


def _finished(scope: Scope, rendered: str, template: HtmlTemplate) -> str:
    try:
        return template.finish(rendered)
    except ContentError as error:
        raise scope.error("html", error.detail) from error
