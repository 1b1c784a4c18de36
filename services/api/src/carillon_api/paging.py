"""Pages of lists: `?limit=` and an opaque `?cursor=` that says after which row the next page begins."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from carillon_api.errors import Problem, invalid

RowT = TypeVar("RowT")
ItemT = TypeVar("ItemT")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows of one page.")]
Cursor = Annotated[
    str | None, Query(max_length=500, description="`next_cursor` of the page before this one.")
]


class Page(BaseModel, Generic[ItemT]):
    """One page of a list."""

    data: list[ItemT]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Cut(Generic[RowT]):
    """The rows of one page, and where the next one begins."""

    rows: Sequence[RowT]
    next_cursor: str | None


def cut(rows: Sequence[RowT], *, limit: int, key: Callable[[RowT], str]) -> Cut[RowT]:
    """Return the page out of `limit + 1` rows that were asked for."""
    if len(rows) <= limit:
        return Cut(rows, None)
    return Cut(rows[:limit], cursor_of(key(rows[limit - 1])))


def cursor_of(key: str) -> str:
    """Return the opaque form of a key."""
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def key_of(cursor: str | None) -> str | None:
    """Return the key in a cursor, None for the first page. Raises `Problem` 422 for what is no cursor."""
    if cursor is None:
        return None
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError as error:
        raise invalid_cursor() from error


def invalid_cursor() -> Problem:
    """The cursor was not made by us."""
    return invalid([{"parameter": "cursor", "detail": "is no cursor of this list"}])
