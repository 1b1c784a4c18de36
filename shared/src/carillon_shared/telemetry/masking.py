"""Takes e-mail addresses and phone numbers out of texts that leave the process as logs."""

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Any
from uuid import UUID

_MASK = "***"
_MAX_DEPTH = 8
_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
# With a plus sign: digits, perhaps grouped. Without one (WhatsApp's own form): 11 to 15 digits that stand
# alone, so that groups of a UUID, times and decimals are left as they are.
_PHONE = re.compile(r"\+\d(?:[ ().-]{0,2}\d){6,14}|(?<![\w.:+-])\d{11,15}(?![\w:-]|\.\d)")


def mask_email(address: str) -> str:
    """Return `anna@example.org` as `a***@e***.org`: enough to recognise, too little to write to."""
    local, _, domain = address.rpartition("@")
    name, _, top = domain.rpartition(".")
    return f"{local[:1]}{_MASK}@{name[:1]}{_MASK}.{top}"


def mask_phone(number: str) -> str:
    """Return `+12025550147` as `+12***47`."""
    digits = "".join(character for character in number if character.isdigit())
    plus = "+" if number.startswith("+") else ""
    return f"{plus}{digits[:2]}{_MASK}{digits[-2:]}"


def mask_text(text: str) -> str:
    """Return the text with every address and number in it masked."""
    if "@" in text:
        text = _EMAIL.sub(lambda found: mask_email(found[0]), text)
    return _PHONE.sub(lambda found: mask_phone(found[0]), text)


def mask_value(value: Any, *, depth: int = 0) -> Any:
    """Return a value fit for a log line: texts masked at any depth, unknown objects as masked text."""
    if isinstance(value, str):
        return mask_text(value)
    if value is None or isinstance(value, bool | int | float | UUID | date | time | timedelta):
        return value
    if depth >= _MAX_DEPTH:
        return mask_text(repr(value))
    if isinstance(value, Mapping):
        return {mask_text(str(key)): mask_value(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value(item, depth=depth + 1) for item in value]
    return mask_text(repr(value))
