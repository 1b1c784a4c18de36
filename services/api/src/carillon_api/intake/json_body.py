"""Reads JSON from strangers: bounded in size and depth, and free of text that PostgreSQL cannot keep."""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
from starlette.requests import Request

from carillon_api.errors import FieldError, Problem, invalid, json_pointer, malformed

MAX_EVENT_BYTES = 256 * 1024
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64

_NUL = b"\\u0000"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MAX_FAULTS = 20


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return the body. Raises `Problem` 413 as soon as it is known to be longer than `limit` bytes."""
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    body = b""
    async for piece in request.stream():
        body = body + piece if body else piece
        if len(body) > limit:
            raise too_large(limit)
    return body


def too_large(limit: int) -> Problem:
    """The body, or one event of it, is larger than `limit` bytes."""
    return Problem("too-large", "The content is too large.", 413, f"At most {limit // 1024} KiB are taken.")


def parse_json(body: bytes, *, is_line: bool = False) -> Any:
    """Return the parsed body, or a line of it.

    Raises `Problem`: 400 when it is not JSON, 422 when it is nested too deeply or its text holds NUL or lone
    surrogates, which jsonb refuses.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _unreadable(body, error, is_line=is_line) from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise invalid([{"pointer": "", "detail": f"is nested deeper than {MAX_DEPTH} levels"}])
    if _NUL in body:
        refuse_unstorable(value)
    return value


def refuse_unstorable(value: Any) -> None:
    """Raise `Problem` 422 naming every text in `value` that PostgreSQL cannot keep."""
    faults: list[FieldError] = []
    for path, text in _texts(value, ()):
        if "\0" in text:
            faults.append({"pointer": json_pointer(path), "detail": "must not contain U+0000"})
        elif not text.isascii() and _is_broken(text):
            faults.append({"pointer": json_pointer(path), "detail": "must not contain lone surrogates"})
    if faults:
        raise invalid(faults[:_MAX_FAULTS])


def _unreadable(body: bytes, error: orjson.JSONDecodeError, *, is_line: bool) -> Problem:
    """Tell broken JSON from JSON that is well-formed and holds half a character."""
    if _SURROGATE.search(body) and body.count(b"[") + body.count(b"{") < MAX_DEPTH:
        try:
            refuse_unstorable(json.loads(body))
        except ValueError:
            pass
        except Problem as problem:
            return problem
    if is_line:
        return malformed(f"The line is not valid JSON: column {error.colno}.")
    return malformed(f"The body is not valid JSON: line {error.lineno} column {error.colno}.")


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        if deepest > MAX_DEPTH + 1:
            break
        level = [child for parent in level for child in _children(parent)]
    return deepest


def _children(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in inner if isinstance(child, dict | list)]


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from _texts(child, (*path, place))
    elif isinstance(value, dict):
        for name, child in value.items():
            yield path, name
            yield from _texts(child, (*path, name))


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
