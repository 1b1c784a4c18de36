"""CSV that no spreadsheet calculates with (OWASP, "CSV Injection"), and back again."""

import csv
import io
from collections.abc import Iterable

from carillon_shared.domain.records import FileFormat

# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_GUARD = "'"


MEDIA_TYPES = {
    FileFormat.CSV: "text/csv; charset=utf-8; header=present",
    FileFormat.JSONL: "application/jsonl",
}


def csv_lines(rows: Iterable[Iterable[str]]) -> bytes:
    """Return lines as RFC 4180 has them."""
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


def guarded(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: an apostrophe stands before it."""
    return _GUARD + text if text.startswith((*_FORMULA, _GUARD)) else text


def unguarded(cell: str) -> str:
    """Return the text that `guarded` made a cell of; other cells as they are."""
    bare = cell.removeprefix(_GUARD)
    return bare if bare.startswith((*_FORMULA, _GUARD)) else cell
