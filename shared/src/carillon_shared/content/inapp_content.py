"""A delivery's template as an item of the feed."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from carillon_shared.content.scope import Scope, scope_of
from carillon_shared.domain.delivery import LeasedDelivery

MAX_BODY = 10_000
MAX_URL = 2_000


@dataclass(frozen=True, slots=True)
class RenderedInapp:
    """What a feed item says. Plain text: whoever shows it escapes it."""

    title: str
    body: str
    action_url: str | None  # http, https, or a path of the page's own site


def render_inapp(delivery: LeasedDelivery) -> RenderedInapp:
    """Render a feed item. Raises `ContentError`."""
    scope = scope_of(delivery)
    title = scope.line("title")
    if not title:
        raise scope.error("title", "is empty")
    has_body = scope.choice.content.get("body") is not None
    body = scope.text("body", limit=MAX_BODY).strip() if has_body else ""
    return RenderedInapp(title, body, _action_url(scope))


def _action_url(scope: Scope) -> str | None:
    if scope.choice.content.get("action_url") is None:
        return None
    url = scope.text("action_url", limit=MAX_URL).strip()
    if url and not is_safe_url(url):
        raise scope.error("action_url", "is neither http, https nor a path that begins with one slash")
    return url or None


def is_safe_url(url: str) -> bool:
    """Say whether following this link stays on the web: http, https, or a path of the page's own site.

    Browsers drop control characters and read a backslash as a slash, so neither is accepted anywhere.
    """
    if not url.isprintable() or " " in url or "\\" in url:
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
