"""Base of the bodies that callers write: nothing unknown, nothing the database cannot keep."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class WrittenPart(BaseModel):
    """A part of a body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Written(WrittenPart):
    """A whole body: besides, its texts can be stored as they are."""

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return check_storable(value)


def check_storable(value: Any) -> Any:
    """Return the value. Raises ``ValueError`` for text that PostgreSQL refuses in `text` and `jsonb`."""
    for text in _texts(value):
        if "\0" in text:
            raise ValueError("contains the character U+0000, which cannot be stored")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("contains half of a surrogate pair, which is no character")
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (key for key in value if isinstance(key, str))
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
