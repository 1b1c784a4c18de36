"""People as a file that `:bulk` takes: JSON lines, or CSV for spreadsheets."""

from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.records import FileFormat

from carillon_api.bulk.models import COLUMNS
from carillon_api.csv_files import csv_lines, guarded
from carillon_api.services import Services

_PAGE: Final = 500
# By number, in which people lie next to each other. Each page's belongings are one range of an index.
_ROWS = """
WITH page AS MATERIALIZED (
    SELECT number, id, email, phone, locale, time_zone, attributes FROM carillon.subscribers
    WHERE tenant_id = $1 AND registered AND number > $2 ORDER BY number LIMIT $3
), reach AS MATERIALIZED (
    SELECT min(number) AS lowest, max(number) AS highest FROM page
), groups AS MATERIALIZED (
    SELECT m.subscriber,
           coalesce(jsonb_agg(m.name ORDER BY m.name) FILTER (WHERE m.kind = 'role'), '[]') AS roles,
           coalesce(jsonb_agg(m.name ORDER BY m.name) FILTER (WHERE m.kind = 'topic'), '[]') AS topics
    FROM carillon.memberships m
    WHERE m.tenant_id = $1
      AND m.subscriber BETWEEN (SELECT lowest FROM reach) AND (SELECT highest FROM reach)
    GROUP BY m.subscriber
)
SELECT p.*, coalesce(g.roles, '[]') AS roles, coalesce(g.topics, '[]') AS topics,
       coalesce(c.document, '{}') AS preferences
FROM page p
LEFT JOIN groups g ON g.subscriber = p.number
LEFT JOIN carillon.preferences c ON c.tenant_id = $1 AND c.subscriber = p.number
ORDER BY p.number
"""


async def export(services: Services, *, tenant_id: int, form: FileFormat) -> AsyncIterator[bytes]:
    """Yield the file piece by piece: everybody who is registered, with all that is known of them.

    Each page is read for itself, so that no transaction is open while a slow client reads. Who is registered
    meanwhile comes at the end.
    """
    if form is FileFormat.CSV:
        yield csv_lines([COLUMNS])
    async for rows in _pages(services, tenant_id=tenant_id):
        yield _written(rows, form)


async def _pages(services: Services, *, tenant_id: int) -> AsyncIterator[list[Any]]:
    last = 0
    while True:
        async with tenant_transaction(services.pool, tenant_id) as connection:
            rows = await connection.fetch(_ROWS, tenant_id, last, _PAGE)
        if rows:
            yield rows
            last = rows[-1]["number"]
        if len(rows) < _PAGE:
            return


def _written(rows: list[Any], form: FileFormat) -> bytes:
    if form is FileFormat.CSV:
        return csv_lines([_cell(row[name]) for name in COLUMNS] for row in rows)
    return b"".join(orjson.dumps({name: row[name] for name in COLUMNS}) + b"\n" for row in rows)


def _cell(value: Any) -> str:
    """Return a value as a cell: nothing is empty, and what is no text is JSON."""
    if not value:
        return ""
    return guarded(value) if isinstance(value, str) else orjson.dumps(value).decode()
