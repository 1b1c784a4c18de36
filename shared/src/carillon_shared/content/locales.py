"""Which of a template's locales a recipient gets."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from carillon_shared.content.errors import ContentError
from carillon_shared.domain.states import Reason

LAST_RESORT = "en"


def parents(tag: str) -> Iterator[str]:
    """Return a language tag and its fallbacks by leaving out its last part (RFC 4647, 3.4): mn-MN, mn."""
    parts = tag.replace("_", "-").split("-")
    for length in range(len(parts), 0, -1):
        yield "-".join(parts[:length])


def language(tag: str) -> str:
    """Return the language of a tag: mn for mn-MN."""
    return tag.replace("_", "-").partition("-")[0].lower()


def select_locale(templates: Mapping[str, Mapping[str, Any]], wanted: str | None, default: str) -> str:
    """Return the key of the best template: wanted, its parents, its language; default likewise; English; any.

    Raises `ContentError` (template_missing) when there is no template at all.
    """
    if wanted is not None and wanted in templates:
        return wanted
    if not templates:
        raise ContentError("there is no template", reason=Reason.TEMPLATE_MISSING)
    known = {tag.replace("_", "-").lower(): tag for tag in sorted(templates, reverse=True)}
    for tag in _chain(wanted, default):
        if tag in known:
            return known[tag]
        near = _nearest(tag, known)
        if near is not None:
            return known[near]
    return min(templates)


def _chain(*tags: str | None) -> Iterator[str]:
    for tag in (*tags, LAST_RESORT):
        if tag:
            yield from parents(tag.lower())


def _nearest(tag: str, known: Iterable[str]) -> str | None:
    """Return another region of a bare language: somebody who reads mn reads mn-MN."""
    return (
        min((other for other in known if other.startswith(f"{tag}-")), default=None)
        if "-" not in tag
        else None
    )
