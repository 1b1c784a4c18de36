"""Signatures of webhooks.

Source: Standard Webhooks, "Symmetric" signatures (https://github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md).
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with, no secret


def signed_headers(
    *, message_id: str, timestamp: int, payload: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """Return the three headers of a webhook, signed with each of these secrets.

    `timestamp` is in seconds since 1970. Raises ``ValueError`` for a secret that is not base64.
    """
    signed = f"{message_id}.{timestamp}.".encode() + payload
    signatures = (f"v1,{_signature(secret, signed)}" for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
