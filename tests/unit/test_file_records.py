"""Records are cut the same wherever the pieces of a file end."""

import csv
import io

import pytest
from carillon_shared.domain.records import (
    LONGEST_RECORD,
    FileFormat,
    Record,
    RecordCutter,
    RecordTooLongError,
    cells_of,
)
from hypothesis import given
from hypothesis import strategies as st

CELL = st.text(alphabet=st.sampled_from("ab,;\"\n\r\t'=Ө "), max_size=8)


def _cut(content: bytes, form: FileFormat, *, size: int) -> tuple[list[Record], str]:
    cutter = RecordCutter(form)
    records = [
        record for at in range(0, len(content), size) for record in cutter.feed(content[at : at + size])
    ]
    return records + list(cutter.end()), cutter.delimiter


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_lines_of_json_are_numbered_and_blank_ones_are_none(size: int) -> None:
    records, _ = _cut(b'\xef\xbb\xbf{"id":1}\r\n\n  \n{"id":2}\n{"id":3}', FileFormat.JSONL, size=size)
    assert records == [Record(1, b'{"id":1}'), Record(4, b'{"id":2}'), Record(5, b'{"id":3}')]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_row_goes_on_while_a_quote_is_open(size: int) -> None:
    content = b'id,name\r\n1,"two\r\nlines, and ""quotes"""\r\n2,5" of rain\r\n3,\n'
    records, _ = _cut(content, FileFormat.CSV, size=size)
    assert [record.line for record in records] == [1, 2, 4, 5]
    assert [cells_of(record.content.decode(), delimiter=",") for record in records] == [
        ["id", "name"],
        ["1", 'two\r\nlines, and "quotes"'],
        ["2", '5" of rain'],
        ["3", ""],
    ]


@given(
    rows=st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=6),
    size=st.integers(1, 30),
    delimiter=st.sampled_from([",", ";"]),
)
def test_what_was_written_is_read(rows: list[list[str]], size: int, delimiter: str) -> None:
    written = io.StringIO()
    header = ["id", "a", "b"]
    csv.writer(written, delimiter=delimiter).writerows([header, *rows])
    records, found = _cut(written.getvalue().encode(), FileFormat.CSV, size=size)
    assert found == delimiter
    assert [cells_of(record.content.decode(), delimiter=found) for record in records] == [header, *rows]


@pytest.mark.parametrize("form", FileFormat)
def test_a_record_without_an_end_is_refused_with_its_line(form: FileFormat) -> None:
    cutter = RecordCutter(form)
    list(cutter.feed(b'id\n"' + b"x" * (LONGEST_RECORD - 1)))
    with pytest.raises(RecordTooLongError, match="line 2"):
        list(cutter.feed(b"x"))
