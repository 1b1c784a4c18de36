"""What is done to an HTML template once, before any mail: CSS written into the tags, a text version derived.

Both are done on the template's own text with its expressions swapped for marks. Where that cannot be
right (an expression decides about a class, a loop is moved by the HTML parser), it is done per mail instead.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import css_inline

from carillon_shared.content.cache import cached
from carillon_shared.content.compiled import CompiledText, compile_text, pieces_of_template
from carillon_shared.content.errors import BrokenTemplateError, ContentError, Fault
from carillon_shared.content.markup import Kind, Piece, flattened, pieces

MAX_ELEMENTS = 4_000
"""Tags in HTML that has a style sheet. The inliner overflows the stack at 50,000 nested ones."""

MAX_CSS = 50_000
"""Characters of style sheets."""

_MAX_OPEN_FORMATTING = 40
"""Open `<b>`, `<i>` and the like: an HTML parser opens each again in every paragraph that follows."""

_FORMATTING = frozenset(
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
_STYLE = re.compile(r"<style\b", re.IGNORECASE)
_DECISIVE = re.compile(r"\b(?:class|id|style)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_POSITIONAL = re.compile(r":(?:nth|first|last|only|empty|has|not)|[+~\[]")
_TAG_NAME = re.compile(r"</?[a-zA-Z][a-zA-Z0-9:-]*")


@dataclass(frozen=True, slots=True)
class HtmlTemplate:
    """An HTML template made ready."""

    body: CompiledText
    text: CompiledText | None  # to be made tidy; None: derive the text from each mail's HTML
    inline_each: bool  # whether CSS is written into the tags of each mail

    def finish(self, rendered: str) -> str:
        """Return a rendered mail with its CSS where mail programs look for it. Raises `ContentError`."""
        return inlined(rendered) if self.inline_each else rendered


@dataclass(frozen=True, slots=True)
class _Marked:
    """A template whose expressions are words without meaning in HTML."""

    source: str
    mark: str
    originals: tuple[str, ...]

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(rf"<!--{self.mark}(\d+)c-->|{self.mark}(\d+)x")

    def restored(self, marked: str, wrap: Callable[[str], str] = str) -> str:
        """Put the expressions back, everything between them changed by `wrap`."""
        parts: list[str] = []
        place = 0
        for found in self.pattern.finditer(marked):
            parts += [wrap(marked[place : found.start()]), self.originals[int(found[1] or found[2])]]
            place = found.end()
        return "".join([*parts, wrap(marked[place:])])

    def order(self, marked: str) -> list[str]:
        return [found[1] or found[2] for found in self.pattern.finditer(marked)]

    def has_block(self, marked: str) -> bool:
        return any(self.originals[int(number)].startswith("{%") for number in self.order(marked))


def prepare(source: str) -> HtmlTemplate:
    """Make an HTML template ready, once. Raises `BrokenTemplateError`."""
    return cached("prepared", source, lambda: _prepare(source))


def _prepare(source: str) -> HtmlTemplate:
    compile_text(source, html=True)  # the author's own text first, for faults at the author's own lines
    marked = _mark(source)
    faults = list(_misplaced(marked))
    if faults:
        raise BrokenTemplateError(faults)
    early = _inlined_early(marked) if _STYLE.search(source) else source
    body = compile_text(source if early is None else early, html=True)
    return HtmlTemplate(body, _derived_text(marked), early is None)


def inlined(source: str) -> str:
    """Return HTML with its style sheets written into the tags; media queries stay. Raises `ContentError`."""
    _refuse_excess(source)
    try:
        return _INLINER.inline(source)
    except css_inline.InlineError as error:
        raise ContentError("has CSS that cannot be written into its tags") from error


_INLINER = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def _mark(source: str) -> _Marked:
    mark = "q" + hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:12] + "q"
    originals: list[str] = []
    words: list[str] = []
    for text, expression in pieces_of_template(source):
        if expression:
            words.append(f"{mark}{len(originals)}x")
            originals.append(text)
        else:
            words.append(text)
    return _Marked("".join(words), mark, tuple(originals))


def _misplaced(marked: _Marked) -> Iterator[Fault]:
    """Find expressions where escaping cannot protect: in scripts, and as tag text without quotes."""
    line = 1
    for piece in pieces(marked.source):
        bare = piece.outside_quotes if piece.kind is Kind.TAG else ""
        if piece.name == "script" and marked.mark in piece.source:
            yield Fault(line, "has an expression inside a script")
        elif any(marked.originals[int(number)].startswith("{{") for number in marked.order(bare)):
            yield Fault(line, "has an expression inside a tag without quotes around it")
        line += marked.restored(piece.source).count("\n")


def _inlined_early(marked: _Marked) -> str | None:
    """Return the template with its CSS in its tags, or None when only the finished mail can tell."""
    parts = list(_with_table_bodies(marked))
    blocks = marked.has_block(marked.source)
    if any(_decides(piece, marked, blocks=blocks) for piece in parts):
        return None
    commented = "".join(_commented(piece, marked) for piece in parts)
    try:
        result = inlined(commented)
    except ContentError as error:
        raise BrokenTemplateError([Fault(1, error.detail)]) from error
    if marked.order(result) != marked.order(commented):
        return None
    if blocks and _skeleton(result, marked) != _skeleton(commented, marked):
        return None
    return marked.restored(result, _literal)


def _decides(piece: Piece, marked: _Marked, *, blocks: bool) -> bool:
    if piece.kind is Kind.RAW and piece.name == "style":
        return marked.mark in piece.source or (blocks and bool(_POSITIONAL.search(piece.source)))
    if piece.kind is not Kind.TAG or marked.mark not in piece.source:
        return False
    decisive = "".join(first or second for first, second in _DECISIVE.findall(piece.source))
    return marked.mark in decisive or marked.mark in piece.outside_quotes


def _commented(piece: Piece, marked: _Marked) -> str:
    """Hide marks in text as comments: the one thing an HTML parser leaves where it stands, even in tables."""
    if piece.kind is not Kind.TEXT:
        return piece.source
    return marked.pattern.sub(rf"<!--{marked.mark}\g<2>c-->", piece.source)


def _with_table_bodies(marked: _Marked) -> Iterator[Piece]:
    """Write the `<tbody>` that HTML lets authors leave out: the parser would put it inside a loop of rows."""
    parts = list(pieces(marked.source))
    tags = [piece for piece in parts if piece.kind is Kind.TAG]
    bare = {id(table) for table, inner in pairwise(tags) if (table.name, inner.name) == ("table", "tr")}
    open_tables: list[bool] = []
    for piece in parts:
        if piece.name != "table":
            yield piece
        elif not piece.source.startswith("</"):
            open_tables.append(id(piece) in bare)
            yield piece
            yield from [Piece(Kind.TAG, "<tbody>")] * open_tables[-1]
        else:
            yield from [Piece(Kind.TAG, "</tbody>")] * (open_tables.pop() if open_tables else False)
            yield piece


def _skeleton(source: str, marked: _Marked) -> list[str]:
    """Return the order of tags and expressions, without what the parser adds around every document."""
    found: list[str] = []
    for piece in pieces(source):
        if piece.kind is Kind.TAG and piece.name not in {"html", "head", "body", "meta", "link", ""}:
            found += _TAG_NAME.findall(piece.source[: len(piece.name) + 2])
        found += marked.order(piece.source)
    return [part.lower() for part in found]


def _derived_text(marked: _Marked) -> CompiledText | None:
    source = marked.restored(flattened(marked.source), _literal)
    try:
        return compile_text(source, html=False)
    except BrokenTemplateError:
        return None


def _literal(text: str) -> str:
    """Keep text that came out of character references from opening an expression."""
    return re.sub(r"\{(?=[{%#])", '{{ "{" }}', text)


def _refuse_excess(source: str) -> None:
    tags = open_formatting = most = css = 0
    for piece in pieces(source):
        if piece.kind is Kind.RAW and piece.name == "style":
            css += len(piece.source)
        if piece.kind is not Kind.TAG:
            continue
        tags += 1
        if piece.name in _FORMATTING:
            open_formatting = max(0, open_formatting + (-1 if piece.source.startswith("</") else 1))
            most = max(most, open_formatting)
    if tags > MAX_ELEMENTS or css > MAX_CSS or most > _MAX_OPEN_FORMATTING:
        raise ContentError("is too large, or nested too deeply, for a style sheet")
