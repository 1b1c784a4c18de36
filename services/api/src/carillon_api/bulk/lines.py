"""Lines of a body, checked: each is a person, or a problem that says what is wrong with it."""

import csv
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from carillon_shared.domain.records import FileFormat, Record, RecordCutter, RecordTooLongError, cells_of
from pydantic import ValidationError

from carillon_api.bulk.models import COLUMNS, BulkSubscriber
from carillon_api.csv_files import unguarded
from carillon_api.errors import Problem, field_error, invalid, malformed
from carillon_api.intake.json_body import parse_json
from carillon_api.written import check_storable

SINGLE_ATTRIBUTE: Final = "attributes."
SINGLE_ATTRIBUTES: Final = "some_attributes"
"""In a document: attributes that change while the others stay."""

_LISTS: Final = frozenset({"roles", "topics"})
_JSON: Final = frozenset({"attributes", "preferences"})
_LIST_SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class CheckedLine:
    """A line of the body: a document that can be stored, or a problem."""

    line: int
    size: int
    id: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    problem: Problem | None = None


async def read_lines(pieces: AsyncIterator[bytes], form: FileFormat) -> AsyncIterator[CheckedLine]:
    """Yield the lines of a body as it arrives.

    Raises `Problem`: 413 for a record without an end, 422 for a header with unknown columns.
    """
    cutter = RecordCutter(form)
    reader = _CsvReader(cutter) if form is FileFormat.CSV else _JsonReader()
    try:
        async for piece in pieces:
            for record in cutter.feed(piece):
                if (line := reader.read(record)) is not None:
                    yield line
        for record in cutter.end():
            if (line := reader.read(record)) is not None:
                yield line
    except RecordTooLongError as error:
        raise Problem("too-large", "The content is too large.", 413, str(error).capitalize()) from error


class _JsonReader:
    """Reads a JSON object a line."""

    def read(self, record: Record) -> CheckedLine | None:
        """Return a line, checked."""
        try:
            value = parse_json(record.content, is_line=True)
        except Problem as problem:
            return CheckedLine(record.line, len(record.content), problem=problem)
        return _checked(record, value)


class _CsvReader:
    """Reads rows below a header that names the columns."""

    def __init__(self, cutter: RecordCutter) -> None:
        self._cutter = cutter
        self._columns: list[str] = []

    def read(self, record: Record) -> CheckedLine | None:
        """Return a row, checked; None for the header. Raises `Problem` 422 for a header that cannot be."""
        try:
            cells = cells_of(record.content.decode(), delimiter=self._cutter.delimiter)
            if not self._columns:
                self._columns = _known([cell.strip() for cell in cells])
                return None
            value, single = self._person(cells)
        except (ValueError, csv.Error) as error:
            problem = malformed(f"The line is not valid CSV: {_reason(error)}.")
            if not self._columns:
                raise problem from error
            return CheckedLine(record.line, len(record.content), problem=problem)
        except _CellError as error:
            return CheckedLine(record.line, len(record.content), problem=error.problem)
        return _checked(record, value, single)

    def _person(self, cells: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
        if len(cells) != len(self._columns):
            raise csv.Error(f"it has {len(cells)} cells, the header has {len(self._columns)}")
        named = dict(zip(self._columns, map(unguarded, cells), strict=True))
        check_storable(named)
        single = {
            name.removeprefix(SINGLE_ATTRIBUTE): cell
            for name, cell in named.items()
            if name.startswith(SINGLE_ATTRIBUTE) and cell
        }
        return {name: _value(name, cell) for name, cell in named.items() if name in COLUMNS}, single


class _CellError(Exception):
    def __init__(self, column: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = invalid([{"pointer": f"/{column}", "detail": detail}])


def _value(column: str, cell: str) -> Any:
    """Return what a cell says; an empty one says null."""
    if not cell.strip():
        return None
    if column in _JSON or (column in _LISTS and cell.startswith("[")):
        try:
            return orjson.loads(cell)
        except orjson.JSONDecodeError as error:
            raise _CellError(column, f"is not valid JSON at character {error.pos + 1}") from error
    if column in _LISTS:
        return [name.strip() for name in cell.split(_LIST_SEPARATOR) if name.strip()]
    return cell


def _known(columns: list[str]) -> list[str]:
    faults = [
        {"pointer": f"/{name}", "detail": f"is no column; there are {', '.join(COLUMNS)} and attributes.NAME"}
        for name in columns
        if name not in COLUMNS and name.removeprefix(SINGLE_ATTRIBUTE) in {name, ""}
    ]
    faults += [
        {"pointer": f"/{name}", "detail": "stands twice in the header"}
        for name in sorted({name for name in columns if columns.count(name) > 1})
    ]
    if "id" not in columns:
        faults.append({"pointer": "/id", "detail": "is missing in the header, the first line"})
    if faults:
        raise invalid(faults)  # type: ignore[arg-type]  # a TypedDict
    return columns


def _checked(record: Record, value: Any, single: Mapping[str, str] | None = None) -> CheckedLine:
    size = len(record.content)
    try:
        person = BulkSubscriber.model_validate(value)
    except ValidationError as error:
        problem = invalid(
            [field_error({**fault, "loc": ("body", *fault["loc"])}) for fault in error.errors()]
        )
        named = value.get("id") if isinstance(value, dict) else None
        return CheckedLine(record.line, size, id=named if isinstance(named, str) else None, problem=problem)
    said = person.document() | ({SINGLE_ATTRIBUTES: single} if single else {})
    return CheckedLine(record.line, size, id=person.id, document=said)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is no UTF-8"
    return str(error)
