"""E-mail addresses: judged by their form alone, without a question to the DNS."""

import re
from functools import lru_cache
from typing import Final

from email_validator import ValidatedEmail, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

# A local part that is right whatever its domain: dot-atom (RFC 5322, 3.2.3) of the usual characters, at most
# 64 octets (RFC 5321, 4.5.3.1.1). Any other takes the long way.
_PLAIN: Final = re.compile(r"(?=.{1,64}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@")
_MAX_DOMAIN: Final = 180  # with such a local part, 254 octets cannot be reached


def validate_address(address: str) -> ValidatedEmail:
    """Return an address taken apart, its domain in ASCII too. Raises `email_validator.EmailNotValidError`.

    Names without a dot (one's own network) and below `.test` (RFC 2606) are addresses as well.
    """
    return validate_email(
        address,
        check_deliverability=False,
        globally_deliverable=False,
        test_environment=True,
        strict=True,
    )


def wire_address(address: ValidatedEmail) -> str:
    """Return an address as SMTP takes it: the domain in ASCII, the local part as it is."""
    return address.ascii_email or f"{address.local_part}@{address.ascii_domain}"


def deliverable_address(address: str) -> str:
    """Return `wire_address(validate_address(address))`, quickly for most. Raises `EmailNotValidError`.

    Validating takes as long as rendering a mail, and people share few domains: those are remembered.
    """
    plain = _PLAIN.match(address)
    if plain is None or len(address) - plain.end() > _MAX_DOMAIN or _is_office(plain.group()):
        return wire_address(validate_address(address))
    return plain.group() + _wire_domain(address[plain.end() :])


def _is_office(local_part: str) -> bool:
    """Return whether it is one of the names that are the same in capitals (RFC 2142)."""
    return local_part[:-1].lower() in CASE_INSENSITIVE_MAILBOX_NAMES


@lru_cache(maxsize=4_096)
def _wire_domain(domain: str) -> str:
    return validate_address(f"postmaster@{domain}").ascii_domain
