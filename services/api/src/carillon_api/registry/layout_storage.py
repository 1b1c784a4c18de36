"""Layouts of mails in the database, always of the current tenant."""

from datetime import datetime

from carillon_shared.db.pool import Connection
from pydantic import BaseModel

from carillon_api.written import Written

_PUT = """
INSERT INTO carillon.layouts (tenant_id, locale, html, text) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, locale) DO UPDATE
SET html = excluded.html, text = excluded.text, updated_at = now()
RETURNING locale, html, text, updated_at
"""


class LayoutBody(Written):
    """What stands around every mail; `{{ content }}` is the place of the mail's own."""

    html: str
    text: str | None = None


class Layout(BaseModel):
    """A layout as it is kept."""

    locale: str
    html: str
    text: str | None
    updated_at: datetime


class Layouts(BaseModel):
    """Layouts by locale."""

    data: list[Layout]


async def put_layout(connection: Connection, body: LayoutBody, *, tenant_id: int, locale: str) -> Layout:
    """Store a layout in the place of an earlier one."""
    row = await connection.fetchrow(_PUT, tenant_id, locale, body.html, body.text)
    assert row is not None  # noqa: S101 - an upsert returns its row
    return Layout.model_validate(dict(row))


async def list_layouts(connection: Connection) -> dict[str, dict[str, str | None]]:
    """Return fields by locale, as templates are put into them."""
    return {layout.locale: {"html": layout.html, "text": layout.text} for layout in await layouts(connection)}


async def layouts(connection: Connection) -> list[Layout]:
    """Return every layout."""
    rows = await connection.fetch(
        "SELECT locale, html, text, updated_at FROM carillon.layouts ORDER BY locale"
    )
    return [Layout.model_validate(dict(row)) for row in rows]


async def delete_layout(connection: Connection, locale: str) -> bool:
    """Delete a layout; false when there is none."""
    status = await connection.execute("DELETE FROM carillon.layouts WHERE locale = $1", locale)
    return bool(status != "DELETE 0")
