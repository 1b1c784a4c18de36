"""Answers of the fake: JSON, problem documents, pages."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

RowT = TypeVar("RowT")

_TITLES = {
    "invalid-content": "The request has invalid content.",
    "unauthorized": "A valid credential is needed.",
    "forbidden": "The credential does not allow this.",
    "not-found": "Not found.",
    "too-large": "The content is too large.",
    "unavailable": "The service cannot do this at the moment.",
    "throttled": "The event type's limit is reached.",
}
_MAX_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, taken apart."""

    query: Mapping[str, str]
    body: Any
    subscriber: str | None = None  # whose token it came with
    topics: frozenset[str] = frozenset()  # those that the token allows besides


@dataclass(frozen=True, slots=True)
class Said:
    """What is answered."""

    status: int
    body: Any = None
    headers: Mapping[str, str] | None = None

    def content(self) -> bytes:
        """Return the body as bytes."""
        return b"" if self.body is None else json.dumps(self.body).encode()


class Refused(Exception):  # noqa: N818 - a problem is an answer
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str | None = None,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        retry_after: float | None = None,
        **members: Any,
    ) -> None:
        super().__init__(slug)
        title = _TITLES.get(slug, "The request conflicts with what is there.")
        self.document = {"type": f"urn:carillon:problem:{slug}", "title": title, "status": status}
        self.document |= {"detail": detail} if detail else {}
        self.document |= {"errors": list(errors)} if errors else {}
        self.document |= members
        self.status = status
        self.retry_after = retry_after

    def said(self) -> Said:
        """Return the answer."""
        headers = {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:g}"}
        return Said(self.status, self.document, headers)


def invalid(pointer: str, detail: str) -> Refused:
    """What is wrong, and where."""
    return Refused(422, "invalid-content", errors=[{"pointer": pointer, "detail": detail}])


def not_found(what: str) -> Refused:
    """There is none."""
    return Refused(404, "not-found", f"This {what} does not exist.")


def page(rows: Sequence[RowT], asked: Asked, show: Callable[[RowT], Mapping[str, Any]], **more: Any) -> Said:
    """Return one page of a list; the cursor says how many rows came before it."""
    limit = int(asked.query.get("limit", 50))
    if not 1 <= limit <= _MAX_LIMIT:
        raise Refused(422, "invalid-content", errors=[{"parameter": "limit", "detail": "is out of range"}])
    start = int(asked.query.get("cursor", 0))
    end = start + limit
    cursor = str(end) if end < len(rows) else None
    return Said(200, {"data": [show(row) for row in rows[start:end]], "next_cursor": cursor, **more})


def text_of(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 writes it."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def time_of(text: str | None) -> datetime | None:
    """Return the time that a text says."""
    return None if text is None else datetime.fromisoformat(text)


def only(body: Any, *names: str) -> dict[str, Any]:
    """Return a body that is an object of these members. Raises `Refused` 422."""
    if not isinstance(body, dict):
        raise invalid("", "must be an object")
    for name in body:
        if name not in names:
            raise invalid(f"/{name}", "Extra inputs are not permitted")
    return body
