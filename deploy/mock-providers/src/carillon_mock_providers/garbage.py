"""Answers that a client cannot read, byte by byte."""

from carillon_mock_providers.faults import Garbage

_NOISE = b"\x00\xff\xfe{]\x07 not what was agreed"
_PAGE = b"<!doctype html><title>Welcome</title><p>Please accept our terms to go on."
_HALF = b'{"messaging_product":"whatsapp","messages":[{"id":"wam'
_MISSING = 60  # bytes of the half answer that never come

_SMTP = {
    Garbage.NOISE: b"\x00\xff\xfe\x07 not what was agreed\r\n",
    Garbage.PAGE: _PAGE + b"\r\n",
    Garbage.HALF: b"250-2.0.0 OK\r\n250 2.0",
}


def http_answer(garbage: Garbage) -> bytes:
    """A whole HTTP answer with status 200, or the beginning of one."""
    match garbage:
        case Garbage.NOISE:
            return _answer(_NOISE, "application/json", length=len(_NOISE))
        case Garbage.PAGE:
            return _answer(_PAGE, "text/html; charset=utf-8", length=len(_PAGE))
        case Garbage.HALF:
            return _answer(_HALF, "application/json", length=len(_HALF) + _MISSING)


def smtp_answer(garbage: Garbage) -> bytes:
    """What comes in the place of the reply to the final dot."""
    return _SMTP[garbage]


def _answer(body: bytes, media_type: str, *, length: int) -> bytes:
    # The server ends the connection: a client that kept it would fail with its next request.
    fields = f"Content-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close"
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + body
