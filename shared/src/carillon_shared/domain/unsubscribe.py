"""Signed links with which a person leaves what a mail belongs to, without signing in (RFC 8058).

A token says whose wish it would be and about what. It has no end: a mail may be read years later.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from carillon_shared.domain.channels import Channel

_VERSION: Final = b"\x01"
_MAC_BYTES: Final = 16
_PURPOSE: Final = b"carillon unsubscribe"  # the secret may sign other things too
_FIELDS: Final = 5
_SEPARATOR: Final = "\n"


@dataclass(frozen=True, slots=True)
class MailingOf:
    """One person, and the kind of message that they were sent."""

    tenant: str  # the tenant's slug
    subscriber: int  # their number
    channel: Channel
    category: str
    event_type: str


def sign_mailing(mailing: MailingOf, secret: bytes) -> str:
    """Return the token of a link: letters, digits, `-` and `_`."""
    fields = (
        mailing.tenant,
        str(mailing.subscriber),
        mailing.channel.value,
        mailing.category,
        mailing.event_type,
    )
    text = _VERSION + _SEPARATOR.join(fields).encode()
    return urlsafe_b64encode(_mac(text, secret) + text).decode().rstrip("=")


def read_mailing(token: str, secret: bytes) -> MailingOf | None:
    """Return what a token says; None unless it was signed with this secret."""
    try:
        signed = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        return None
    mac, text = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(text, secret)) or not text.startswith(_VERSION):
        return None
    fields = text[len(_VERSION) :].decode().split(_SEPARATOR)
    if len(fields) != _FIELDS:
        return None
    tenant, number, channel, category, event_type = fields
    return MailingOf(tenant, int(number), Channel(channel), category, event_type)


def _mac(text: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + text, "sha256")[:_MAC_BYTES]
