"""Dates, numbers and money as the recipient's language writes them (Unicode CLDR, through Babel)."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, format_percent

from carillon_shared.content.errors import ContentError
from carillon_shared.content.locales import parents

_STYLES = ("short", "medium", "long", "full")
_MAX_DIGITS = 40
_CURRENCY = re.compile("[A-Za-z]{3}")

Style = Literal["short", "medium", "long", "full"]


@dataclass(frozen=True, slots=True, eq=False)
class Formatting:
    """Whose habits dates and numbers follow. `formatting` returns the same object for the same habits."""

    locale: Locale
    time_zone: ZoneInfo


def formatting(*, locales: tuple[str | None, ...], time_zones: tuple[str | None, ...]) -> Formatting:
    """Return the first locale and the first time zone that exist; English and UTC when none does."""
    return _formatting(locales, time_zones)


@lru_cache(maxsize=2_048)
def _formatting(locales: tuple[str | None, ...], time_zones: tuple[str | None, ...]) -> Formatting:
    locale = next(filter(None, map(_locale, filter(None, locales))), None)
    zone = next(filter(None, map(_zone, filter(None, time_zones))), None)
    return Formatting(locale or Locale("en"), zone or ZoneInfo("UTC"))


def _locale(tag: str) -> Locale | None:
    for candidate in parents(tag):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError, TypeError):
            continue
    return None


def _zone(name: str) -> ZoneInfo | None:
    """Return a time zone. An unknown name is a `KeyError`, a path that is no zone one of the others."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None


_remembered = lru_cache(maxsize=8_192, typed=True)
"""A mail writes each value twice, as HTML and as text, and an event's recipients share most of them."""


@_remembered
def written_datetime(value: Any, habits: Formatting, style: str = "medium") -> str:
    """Write a moment in the recipient's time zone. Takes ISO 8601 text or seconds since 1970."""
    return format_datetime(_moment(value), _style(style), tzinfo=habits.time_zone, locale=habits.locale)


@_remembered
def written_date(value: Any, habits: Formatting, style: str = "medium") -> str:
    """Write the day a moment falls on in the recipient's time zone; a plain date stays the day it is."""
    if isinstance(value, str) and len(value) == len("2026-11-21"):
        return format_date(_plain_date(value), _style(style), locale=habits.locale)
    moment = _moment(value).astimezone(habits.time_zone)
    return format_date(moment, _style(style), locale=habits.locale)


@_remembered
def written_time(value: Any, habits: Formatting, style: str = "short") -> str:
    """Write the time of day of a moment in the recipient's time zone."""
    return format_time(_moment(value), _style(style), tzinfo=habits.time_zone, locale=habits.locale)


@_remembered
def written_number(value: Any, habits: Formatting, digits: int | None = None) -> str:
    """Write a number with the recipient's separators, with so many decimals when `digits` is given."""
    if digits is None:
        return format_decimal(_number(value), locale=habits.locale)
    if type(digits) is not int or not 0 <= digits <= _MAX_DIGITS:
        raise ContentError("asks for an impossible number of decimals")
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(_number(value), pattern, locale=habits.locale)


@_remembered
def written_percent(value: Any, habits: Formatting) -> str:
    """Write a share (0.5) as per cent (50 %)."""
    return format_percent(_number(value), locale=habits.locale)


@_remembered
def written_currency(value: Any, habits: Formatting, code: str = "") -> str:
    """Write an amount in a currency named by its ISO 4217 code, such as MNT."""
    if not _CURRENCY.fullmatch(str(code)):
        raise ContentError('needs a currency code, such as currency("MNT")')
    return format_currency(_number(value), str(code).upper(), locale=habits.locale)


def _style(style: str) -> Style:
    # Babel would take any CLDR pattern, and keep each for ever: a way to fill the memory
    if style not in _STYLES:
        raise ContentError("has a date style that is none of short, medium, long, full")
    return cast("Style", style)


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str):
            moment = datetime.fromisoformat(value)
        elif type(value) in {int, float}:
            moment = datetime.fromtimestamp(value, UTC)
        else:
            raise _not_a("a time")
    except (ValueError, OverflowError, OSError) as error:
        raise _not_a("a time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain_date(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise _not_a("a date") from error


def _number(value: Any) -> Decimal | int:
    if type(value) is int and abs(value) < 10**_MAX_DIGITS:
        return value
    try:
        number = (
            Decimal(str(value)) if type(value) in {float, str} and len(str(value)) <= _MAX_DIGITS else None
        )
    except InvalidOperation as error:
        raise _not_a("a number") from error
    if number is None or not number.is_finite() or abs(number.adjusted()) > _MAX_DIGITS:
        raise _not_a("a number")
    return number


def _not_a(kind: str) -> ContentError:
    return ContentError(f"formats a value that is not {kind}")
