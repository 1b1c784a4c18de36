"""E-mail addresses: judged by their form alone, without a question to the DNS."""

from email_validator import ValidatedEmail, validate_email


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
