"""Records of a text file, cut from its bytes as they arrive: a line of JSON each, or a row of CSV (RFC 4180).

A row of CSV may take several lines: its cells may hold line ends, in quotes.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

LONGEST_RECORD = 1024 * 1024
"""Bytes of one record; a quote that is never closed would else be the rest of the file."""

_MARK = b"\xef\xbb\xbf"  # the byte order mark that spreadsheets begin UTF-8 with
_DELIMITERS = (",", ";", "\t")


class FileFormat(StrEnum):
    """How people are written in a file."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """A record without its line end, and the line at which it begins, from 1."""

    line: int
    content: bytes


class RecordTooLongError(Exception):
    """A record does not end within `LONGEST_RECORD` bytes."""

    def __init__(self, line: int) -> None:
        self.line = line
        mebibytes = LONGEST_RECORD // 1024**2
        super().__init__(f"line {line} does not end within {mebibytes} MiB; is a quote not closed?")


class RecordCutter:
    """Cuts records; blank lines are none. A CSV's `delimiter` is known after its first record, the header."""

    def __init__(self, form: FileFormat) -> None:
        self.delimiter = _DELIMITERS[0]
        self._form = form
        self._line = 0
        self._begun_at = 1
        self._begun: list[bytes] = []  # lines of the record that has not ended
        self._odd_quotes = False
        self._rest = b""
        self._seen_header = False

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Yield the records that end in this piece. Raises `RecordTooLongError`."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            yield from self._take(line)
        if sum(map(len, self._begun)) + len(self._rest) > LONGEST_RECORD:
            raise RecordTooLongError(self._begun_at if self._begun else self._line + 1)

    def end(self) -> Iterator[Record]:
        """Yield what is left when the file is over; a record that has not ended, as it is."""
        rest, self._rest = self._rest, b""
        yield from self._take(rest)
        if self._begun:
            yield self._record()

    def _take(self, line: bytes) -> Iterator[Record]:
        self._line += 1
        if self._line == 1:
            line = line.removeprefix(_MARK)
        if not self._begun:
            self._begun_at, self._odd_quotes = self._line, False
        self._begun.append(line)
        if self._form is FileFormat.CSV and self._goes_on(line):
            if sum(map(len, self._begun)) > LONGEST_RECORD:
                raise RecordTooLongError(self._begun_at)
            return
        record = self._record()
        if record.content.strip():
            yield record

    def _goes_on(self, line: bytes) -> bool:
        """Tell whether the record goes on in the next line: a quote is open."""
        self._odd_quotes ^= line.count(b'"') % 2 == 1
        return self._odd_quotes and (len(self._begun) > 1 or _ends_in_quotes(line, self.delimiter))

    def _record(self) -> Record:
        content = b"\n".join(self._begun).removesuffix(b"\r")
        self._begun = []
        if self._form is FileFormat.CSV and not self._seen_header and content.strip():
            self._seen_header = True
            self.delimiter = max(_DELIMITERS, key=lambda one: content.count(one.encode()))
        return Record(self._begun_at, content)


def cells_of(text: str, *, delimiter: str) -> list[str]:
    """Return the cells of a row. Raises ``csv.Error``."""
    return next(csv.reader([text], strict=True, delimiter=delimiter), [])


def _ends_in_quotes(line: bytes, delimiter: str) -> bool:
    """Tell an open quote from one in the middle of a cell, as in: 5" of rain."""
    try:
        cells_of(line.decode("latin-1"), delimiter=delimiter)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False
