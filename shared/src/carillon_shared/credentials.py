"""API keys: how one is made, taken apart and checked.

A key reads `ck_<key id>_<secret>`. The secret is 256 random bits, so a keyed hash needs no slow function; the
pepper (a setting, not in the database) keeps a stolen table from being of use.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass

_ID_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH = 16
_SECRET_BYTES = 32
_KEY = re.compile(r"ck_([A-Za-z0-9]{8,32})_([A-Za-z0-9_-]{16,128})", re.ASCII)

SCOPES = ("events:write", "events:read", "registry:write", "subscribers:write", "operator", "admin")
"""Every scope a key may carry. `admin` stands for all of them."""


@dataclass(frozen=True, slots=True)
class ApiKeyText:
    """The two parts of a key. Only the id may be stored or logged."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"ck_{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"ApiKeyText(id={self.id!r}, secret='***')"


def make_api_key() -> ApiKeyText:
    """Return a new random key; `str()` of it is what its owner is shown, once."""
    identifier = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    return ApiKeyText(identifier, secrets.token_urlsafe(_SECRET_BYTES))


def parse_api_key(text: str) -> ApiKeyText | None:
    """Take a presented key apart; None when it is not one."""
    found = _KEY.fullmatch(text)
    return ApiKeyText(found[1], found[2]) if found else None


def hash_secret(secret: str, *, pepper: bytes) -> bytes:
    """Return the 32 bytes to store: HMAC-SHA256 (RFC 2104) of the secret under the pepper."""
    return hmac.digest(pepper, secret.encode(), hashlib.sha256)


def secret_matches(secret: str, secret_hash: bytes, *, pepper: bytes) -> bool:
    """Tell, in constant time, whether this secret has that hash."""
    return hmac.compare_digest(hash_secret(secret, pepper=pepper), secret_hash)
