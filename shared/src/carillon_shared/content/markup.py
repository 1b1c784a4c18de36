"""HTML read just far enough, in time that grows with its length only: tags, comments, raw text, text."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

RAW_ELEMENTS = frozenset({"style", "script", "title", "textarea", "template", "noscript", "xmp", "iframe"})
"""Elements whose inside is not text to read, or not markup at all."""

_NAME = re.compile(r"</?\s*([a-zA-Z][a-zA-Z0-9:-]*)")
_TAG_PART = re.compile(r"[^\"'>]+|\"[^\"]*\"|'[^']*'|[>\"']")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_HREF = re.compile(r"\bhref\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_LINE, _PARAGRAPH = "\v", "\f"  # "a new line here, if there is none yet", "a blank line here"
_BREAKS = re.compile(r"[\v\f]\s*")

_PARAGRAPHS = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "hr", "pre"}
)
_LINES = frozenset({"div", "tr", "li", "section", "header", "footer", "article", "dt", "dd"})
_CELLS = frozenset({"td", "th"})


class Kind(Enum):
    """What a piece of HTML is."""

    TEXT = "text"
    TAG = "tag"
    COMMENT = "comment"
    RAW = "raw"  # an element of RAW_ELEMENTS with its inside


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of HTML, as it is written."""

    kind: Kind
    source: str

    @property
    def name(self) -> str:
        """The element's name in lower case, of a tag or a raw element; else nothing."""
        found = _NAME.match(self.source)
        return found[1].lower() if found and self.kind in {Kind.TAG, Kind.RAW} else ""

    @property
    def outside_quotes(self) -> str:
        """A tag without its quoted values."""
        return _QUOTED.sub('""', self.source)


def pieces(source: str) -> Iterator[Piece]:
    """Take HTML apart; joined, the pieces are the source again."""
    place = 0
    while place < len(source):
        kind, end = _next(source, place)
        yield Piece(kind, source[place:end])
        place = end


def _next(source: str, start: int) -> tuple[Kind, int]:
    if source[start] != "<":
        return Kind.TEXT, _end(source, "<", start, keep=False)
    if source.startswith("<!--", start):
        return Kind.COMMENT, _end(source, "-->", start + 4)
    if not _NAME.match(source, start) and source[start + 1 : start + 2] not in {"!", "?"}:
        return Kind.TEXT, _end(source, "<", start + 1, keep=False)
    end = _tag_end(source, start)
    name = _NAME.match(source, start)
    if name and name[1].lower() in RAW_ELEMENTS and source[start + 1] != "/":
        return Kind.RAW, _raw_end(source, name[1], end)
    return Kind.TAG, end


def _end(source: str, mark: str, start: int, *, keep: bool = True) -> int:
    found = source.find(mark, start)
    if found < 0:
        return len(source)
    return found + len(mark) if keep else found


def _tag_end(source: str, start: int) -> int:
    place = start
    while found := _TAG_PART.match(source, place):
        place = found.end()
        if found[0] == ">":
            return place
        if found[0] in {'"', "'"}:  # a quote that is never closed
            return len(source)
    return len(source)


def _raw_end(source: str, name: str, start: int) -> int:
    close = re.compile(rf"</{re.escape(name)}\s*>", re.IGNORECASE).search(source, start)
    return close.end() if close else len(source)


def text_of(source: str) -> str:
    """Return HTML as plain text: blocks on lines of their own, links followed by where they lead."""
    return tidy(flattened(source))


def flattened(source: str) -> str:
    """Return HTML without its tags; `tidy` makes lines of the marks left between blocks."""
    parts: list[str] = []
    links: list[str] = []
    for piece in pieces(source):
        if piece.kind is Kind.TEXT:
            parts.append(_SPACES.sub(" ", html.unescape(piece.source)))
        elif piece.kind is Kind.TAG:
            parts.append(_tag_text(piece, links))
    return "".join(parts)


def tidy(text: str) -> str:
    """Return flattened text with line breaks and blank lines where blocks begin and end."""
    broken = _BREAKS.sub(lambda found: "\n\n" if _PARAGRAPH in found[0] else "\n", text)
    return "\n".join(map(str.rstrip, broken.split("\n"))).strip() + "\n"


def _tag_text(piece: Piece, links: list[str]) -> str:
    name, closing = piece.name, piece.source.startswith("</")
    if name == "a":
        return _link_text(piece, links, closing=closing)
    if name in _PARAGRAPHS:
        return _PARAGRAPH
    if name == "li" and not closing:
        return _LINE + "- "
    if name in _LINES:
        return _LINE
    if name == "br":
        return "\n"
    return " " if name in _CELLS and closing else ""


def _link_text(piece: Piece, links: list[str], *, closing: bool) -> str:
    if not closing:
        found = _HREF.search(piece.source)
        links.append(html.unescape(found[1] or found[2] or "") if found else "")
        return ""
    target = links.pop() if links else ""
    return f" ({target})" if target and not target.startswith("#") else ""
