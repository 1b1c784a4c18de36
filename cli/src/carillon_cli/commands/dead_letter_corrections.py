"""What a replay puts right: an address, or parts of the data."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from carillon_cli.failures import WrongUseError

EmailOption = Annotated[str | None, typer.Option(help="Send to this address instead (with one --id).")]
PhoneOption = Annotated[str | None, typer.Option(help="Send to this number instead (with one --id).")]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--set-data", metavar="KEY=VALUE", help="Correct the event's data; repeat for more."),
]


def corrections(*, email: str | None, phone: str | None, data: Sequence[str] | None) -> dict[str, Any] | None:
    """Return the `overrides` of a replay, None when nothing is corrected. Raises `WrongUseError`."""
    address = {name: value for name, value in (("email", email), ("phone", phone)) if value is not None}
    overrides: dict[str, Any] = {}
    if address:
        overrides["address"] = address
    if data:
        overrides["data"] = dict(_pair(text) for text in data)
    return overrides or None


def _pair(text: str) -> tuple[str, Any]:
    """Read `key=value`; a value that is JSON is taken as such, any other as text."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise WrongUseError(f"--set-data {text!r}: write it as key=value.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
