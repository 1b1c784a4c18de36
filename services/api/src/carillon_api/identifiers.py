"""Ids in addresses."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

from carillon_api.errors import not_found
from carillon_api.paging import invalid_cursor, key_of

UuidText = Annotated[str, Path(description="A UUID.", json_schema_extra={"format": "uuid"})]


def uuid_or_missing(text: str, *, what: str) -> UUID:
    """Return the id in an address. Raises `Problem` 404: what is no id names nothing that is there."""
    try:
        return UUID(text)
    except ValueError as error:
        raise not_found(what) from error


def uuid_in_cursor(cursor: str | None) -> UUID | None:
    """Return the id a page begins after, None for the first. Raises `Problem` 422."""
    key = key_of(cursor)
    try:
        return UUID(key) if key is not None else None
    except ValueError as error:
        raise invalid_cursor() from error
