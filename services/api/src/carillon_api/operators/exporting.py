"""Dead letters as a file: CSV or JSON lines."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from carillon_shared.db.pool import tenant_transaction
from carillon_shared.telemetry.masking import mask_value

from carillon_api.operators import storage
from carillon_api.operators.storage import DeadLetterFilter, Position
from carillon_api.services import Services

COLUMNS = (
    "id",
    "event_id",
    "event_type",
    "subscriber",
    "channel",
    "address",
    "reason",
    "provider",
    "code",
    "error",
    "attempt",
    "dead_at",
)
_PAGE = 500
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class ExportFormat(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSONL = "jsonl"


MEDIA_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
    ExportFormat.JSONL: "application/jsonl",
}


async def export(
    services: Services, wanted: DeadLetterFilter, *, tenant_id: int, form: ExportFormat, reveal: bool
) -> AsyncIterator[bytes]:
    """Yield the file piece by piece, newest first. Addresses are masked, in errors too, unless revealed.

    Each page is read for itself, so that no transaction is open while a slow client reads.
    """
    if form is ExportFormat.CSV:
        yield _csv([COLUMNS])
    async for rows in _pages(services, wanted, tenant_id=tenant_id):
        yield _written([_row(row, reveal=reveal) for row in rows], form)


async def _pages(services: Services, wanted: DeadLetterFilter, *, tenant_id: int) -> AsyncIterator[list[Any]]:
    after: Position | None = None
    while True:
        async with tenant_transaction(services.pool, tenant_id) as connection:
            rows = await storage.list_rows(
                connection, tenant_id=tenant_id, wanted=wanted, after=after, limit=_PAGE
            )
        if rows:
            yield rows
            after = Position(rows[-1]["dead_at"], rows[-1]["id"])
        if len(rows) < _PAGE:
            return


def _row(row: Any, *, reveal: bool) -> dict[str, Any]:
    values = {name: row[name] for name in COLUMNS}
    if reveal:
        return values
    return values | {name: mask_value(values[name]) for name in ("address", "error")}


def _written(rows: list[dict[str, Any]], form: ExportFormat) -> bytes:
    if form is ExportFormat.JSONL:
        return b"".join(orjson.dumps(row, default=str, option=orjson.OPT_UTC_Z) + b"\n" for row in rows)
    return _csv([_cell(value) for value in row.values()] for row in rows)


def _csv(lines: Iterable[Iterable[str]]) -> bytes:
    """Return lines as RFC 4180 has them."""
    written = io.StringIO()
    csv.writer(written).writerows(lines)
    return written.getvalue().encode()


def _cell(value: Any) -> str:
    """Return a value as text that no spreadsheet calculates with."""
    if value is None:
        return ""
    text = value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
