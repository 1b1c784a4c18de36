"""Addresses and habits of a person, checked when they are written. No message repeats the value."""

from functools import cache
from zoneinfo import available_timezones

import phonenumbers
from babel import Locale, UnknownLocaleError
from email_validator import EmailNotValidError, validate_email


def check_email(value: str) -> str:
    """Return the address in its normal form. Raises ``ValueError``.

    Domains of internal networks are fine; whether a domain exists is learnt when mail is sent.
    """
    try:
        checked = validate_email(value, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise ValueError("is no e-mail address") from error
    return checked.normalized


def check_phone(value: str) -> str:
    """Return the number in E.164 form, +97611234567. Raises ``ValueError``."""
    try:
        number = phonenumbers.parse(value, None)
    except phonenumbers.NumberParseException as error:
        raise ValueError("is no phone number with its country code, such as +12025550147") from error
    if not phonenumbers.is_possible_number(number):
        raise ValueError("is no possible phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def check_locale(value: str) -> str:
    """Return a language tag whose language is known (BCP 47), such as mn-MN. Raises ``ValueError``."""
    try:
        Locale.parse(value, sep="-")
    except (ValueError, UnknownLocaleError) as error:
        raise ValueError("is no known locale; write it as mn or mn-MN") from error
    return value


def check_time_zone(value: str) -> str:
    """Return an IANA time zone. Raises ``ValueError``."""
    if value not in _time_zones():
        raise ValueError("is no IANA time zone, such as Asia/Ulaanbaatar")
    return value


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())  # reads the whole time zone database
