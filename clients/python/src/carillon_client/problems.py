"""Reads problem documents (RFC 9457), tolerantly: a gateway in between may answer with anything."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from carillon_client.errors import FieldError, Problem

_KNOWN = frozenset({"type", "title", "status", "detail", "errors"})
_SHOWN_BYTES = 200


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """Return what an answer of 300 or more says. `headers` by lower-case names."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    wait = retry_after(headers.get("retry-after"))
    if not isinstance(document, dict):
        return Problem(
            "about:blank", f"Answered with {status}", status, _shown(body) or None, retry_after=wait
        )
    return from_document(document, status=status, wait=wait)


def from_document(document: Mapping[str, Any], *, status: int, wait: float | None = None) -> Problem:
    """Return the problem in a document; `status` where it names none."""
    said = document.get("status")
    faults = document.get("errors")
    return Problem(
        type=str(document.get("type", "about:blank")),
        title=str(document.get("title", f"Answered with {status}")),
        status=said if isinstance(said, int) else status,
        detail=str(document["detail"]) if "detail" in document else None,
        errors=tuple(_fault(fault) for fault in faults) if isinstance(faults, list) else (),
        retry_after=wait,
        members={name: value for name, value in document.items() if name not in _KNOWN},
    )


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After field (RFC 9110, 10.2.3): a number, or a date; None if neither."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _fault(given: Any) -> FieldError:
    if not isinstance(given, dict):
        return FieldError(str(given))
    return FieldError(str(given.get("detail", "")), given.get("pointer"), given.get("parameter"))


def _shown(body: bytes) -> str:
    return body[:_SHOWN_BYTES].decode("utf-8", errors="replace").strip()
