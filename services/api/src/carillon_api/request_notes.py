"""What a route wants to be in its request's one log line."""

from typing import Any

from starlette.requests import HTTPConnection

_KEY = "carillon.notes"


def note(connection: HTTPConnection, **fields: Any) -> None:
    """Add fields to the log line of this request. Never addresses, tokens or bodies."""
    connection.scope.setdefault(_KEY, {}).update(fields)


def notes_of(scope: dict[str, Any]) -> dict[str, Any]:
    """Return what has been noted."""
    notes: dict[str, Any] = scope.get(_KEY, {})
    return notes
