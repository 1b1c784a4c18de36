"""Dead letters as a file: CSV or JSON lines."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import orjson
from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.records import FileFormat
from carillon_shared.telemetry.masking import mask_value

from carillon_api.csv_files import csv_lines, guarded
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


async def export(
    services: Services, wanted: DeadLetterFilter, *, tenant_id: int, form: FileFormat, reveal: bool
) -> AsyncIterator[bytes]:
    """Yield the file piece by piece, newest first. Addresses are masked, in errors too, unless revealed.

    Each page is read for itself, so that no transaction is open while a slow client reads.
    """
    if form is FileFormat.CSV:
        yield csv_lines([COLUMNS])
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


def _written(rows: list[dict[str, Any]], form: FileFormat) -> bytes:
    if form is FileFormat.JSONL:
        return b"".join(orjson.dumps(row, default=str, option=orjson.OPT_UTC_Z) + b"\n" for row in rows)
    return csv_lines([_cell(value) for value in row.values()] for row in rows)


def _cell(value: Any) -> str:
    """Return a value as text that no spreadsheet calculates with."""
    if value is None:
        return ""
    text = value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
    return guarded(text)
