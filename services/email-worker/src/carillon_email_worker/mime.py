"""Writes a mail's bytes (RFC 5322, RFC 2045-2047): a text, and an HTML version beside it.

The standard library's `EmailMessage` takes 1.3 ms for a small mail, mostly to parse again what it is given.
Here a header is either printable ASCII, checked, or encoded words, which can hold nothing but base64 and
letters, so no value can begin a line or a header of its own. Tests read every mail back with `email`.
"""

import binascii
import re
from email.header import Header
from functools import lru_cache
from typing import Final

_SHORT: Final = 76  # characters of a line that needs no folding
_MAX_LINE: Final = 900  # octets; RFC 5322 allows 998
_FOLD: Final = "\r\n "
_BASE64_LINE: Final = 57  # octets that make 76 characters
_BOUNDARY: Final = "=-carillon-part"  # cannot occur in base64; other bodies are searched for it
_OUTSIDE_ADDRESSES = re.compile(r'[ <>,;:"]')
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")  # RFC 5322 "phrase" that needs no quotes

_MULTIPART = f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{_BOUNDARY}"\r\n\r\n'
_SINGLE = "MIME-Version: 1.0\r\n"


def plain_header(name: str, value: str) -> str:
    """Return a header line of a value in printable ASCII. Raises `ValueError` for any other."""
    if not (value.isascii() and value.isprintable()) or len(value) > _MAX_LINE:
        raise ValueError(f"{name} cannot be written as it is")
    return f"{name}: {value}\r\n"


@lru_cache(maxsize=1_024)
def text_header(name: str, value: str) -> str:
    """Return a header line of free text, in encoded words (RFC 2047) where that is needed."""
    if len(name) + len(value) < _SHORT and value.isascii() and value.isprintable() and "=?" not in value:
        return plain_header(name, value)
    return f"{name}: {_encoded(value, len(name) + 2)}\r\n"


def address_header(name: str, address: str) -> str:
    """Return a header line of one address, which was validated.

    Raises `ValueError` for an address with white space, control characters or angle brackets.
    """
    if not address.isprintable() or _OUTSIDE_ADDRESSES.search(address):
        raise ValueError(f"{name} is no address")
    return f"{name}: {address}\r\n"


@lru_cache(maxsize=1_024)
def named_address_header(name: str, display_name: str, address: str) -> str:
    """Return a header line of one address with a name to show. Raises `ValueError` as `address_header`."""
    plain = address_header(name, address)
    if not display_name:
        return plain
    phrase = _phrase(display_name, len(name) + 2)
    together = len(name) + len(phrase) + len(address) < _SHORT
    return f"{name}: {phrase}{' ' if together else _FOLD}<{address}>\r\n"


def mail_bytes(headers: list[str], *, text: str, html: str | None) -> bytes:
    """Return a whole mail: the text alone, or text and HTML as alternatives, the better one last."""
    if html is None:
        return "".join([*headers, _SINGLE, _part("plain", text)]).encode()
    parts = [f"--{_BOUNDARY}\r\n{_part(kind, body)}\r\n" for kind, body in (("plain", text), ("html", html))]
    return "".join([*headers, _MULTIPART, *parts, f"--{_BOUNDARY}--\r\n"]).encode()


def _part(subtype: str, body: str) -> str:
    """Return a body with its headers, as it is when every server takes that, else in base64.

    Quoted-printable would be kinder to readers of raw mail, but the standard library writes it slowly.
    """
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    if body.isascii() and "\0" not in body and _BOUNDARY not in body and max(map(len, lines)) < _MAX_LINE:
        return f"Content-Type: text/{subtype}; charset=utf-8\r\n\r\n" + "\r\n".join(lines) + "\r\n"
    return (
        f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + _base64("\r\n".join(lines) + "\r\n")
    )


def _base64(text: str) -> str:
    octets = text.encode()
    starts = range(0, len(octets), _BASE64_LINE)
    lines = [binascii.b2a_base64(octets[at : at + _BASE64_LINE], newline=False).decode() for at in starts]
    return "\r\n".join(lines) + "\r\n"


def _phrase(text: str, taken: int) -> str:
    if len(text) + taken < _SHORT and text.isascii() and text.isprintable() and "=?" not in text:
        if _ATOMS.fullmatch(text):
            return text
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return _encoded(text, taken)


def _encoded(text: str, taken: int) -> str:
    """Return encoded words, folded."""
    words = Header(text, "utf-8", maxlinelen=_SHORT, header_name="x" * taken)
    return words.encode(linesep="\r\n", maxlinelen=_SHORT)
