"""People in files, cut into requests as they are read: memory does not grow with the file."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from carillon_shared.domain.records import FileFormat, Record, RecordCutter, RecordTooLongError

from carillon_cli.failures import NothingMatchedError, WrongUseError

STDIN: Final = "-"
MEDIA_TYPES: Final = {FileFormat.CSV: "text/csv", FileFormat.JSONL: "application/jsonl"}

_BATCH = 2_000
_BATCH_BYTES = 1_000_000
_PIECE = 65_536
_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".json": FileFormat.JSONL,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of a file that go in one request; a CSV's below its header."""

    records: tuple[Record, ...]
    header: Record | None
    read: int
    """Bytes of the file that have been read by now."""

    @property
    def body(self) -> bytes:
        """The batch as a file of its own."""
        whole = self.records if self.header is None else (self.header, *self.records)
        return b"".join(record.content + b"\n" for record in whole)


def format_of(source: str, given: FileFormat | None) -> FileFormat:
    """Return a file's format: as given, else by its name. Raises `WrongUseError`."""
    found = given or _SUFFIXES.get(Path(source).suffix.lower())
    if found is None:
        raise WrongUseError(f"{name_of(source)}: say --format csv or --format jsonl.")
    return found


def name_of(source: str) -> str:
    """Return what a file is called in sentences."""
    return "standard input" if source == STDIN else source


def open_source(source: str) -> AbstractContextManager[BinaryIO]:
    """Open a file, or standard input for `-`. Raises `NothingMatchedError` or `WrongUseError`."""
    if source == STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except FileNotFoundError as error:
        raise NothingMatchedError(f"There is no file {source}.") from error
    except OSError as error:
        raise WrongUseError(f"{source} cannot be read: {error.strerror or error}") from error


def batches(file: BinaryIO, form: FileFormat, *, from_line: int = 1) -> Iterator[Batch]:
    """Yield a file's records from a line on, in batches. Raises `WrongUseError` for one without an end."""
    header: Record | None = None
    batch: list[Record] = []
    size = read = 0
    for record, read in _records(file, form):
        if form is FileFormat.CSV and header is None:
            header = record
        elif record.line >= from_line:
            if batch and (len(batch) == _BATCH or size + len(record.content) > _BATCH_BYTES):
                yield Batch(tuple(batch), header, read)
                batch, size = [], 0
            batch.append(record)
            size += len(record.content)
    if batch:
        yield Batch(tuple(batch), header, read)


def _records(file: BinaryIO, form: FileFormat) -> Iterator[tuple[Record, int]]:
    cutter, read = RecordCutter(form), 0
    try:
        while piece := file.read(_PIECE):
            read += len(piece)
            for record in cutter.feed(piece):
                yield record, read
        for record in cutter.end():
            yield record, read
    except RecordTooLongError as error:
        raise WrongUseError(f"{str(error).capitalize()} (bad lines before it were reported)") from error
