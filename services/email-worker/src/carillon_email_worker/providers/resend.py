"""Sends mail over Resend's HTTP interface.

Source: Resend's API reference, "Send Email" (`POST /emails`), "Idempotency Keys" and "Errors".
"""

from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from hashlib import sha256
from typing import Any, Final

import orjson
from carillon_shared.delivery.http_call import ATTEMPT_SECONDS, HttpCaller
from carillon_shared.domain.outcomes import Outcome

from carillon_email_worker.message import OutgoingMail
from carillon_email_worker.providers.resend_errors import reply_outcome

_KEY_DIGITS: Final = 16
_OWN_FIELDS: Final = frozenset(
    {"from", "to", "subject", "reply-to", "date", "mime-version", "content-type", "content-transfer-encoding"}
)


@dataclass(frozen=True, slots=True)
class ResendAccount:
    """Which account sends."""

    url: str
    api_key: str = field(repr=False)

    @property
    def emails_url(self) -> str:
        """Where mails are posted."""
        return f"{self.url.rstrip('/')}/emails"


class ResendProvider:
    """A `carillon_shared.delivery.provider.Provider` for Resend."""

    def __init__(
        self,
        account: ResendAccount,
        *,
        connections: int = 10,
        attempt_seconds: float = ATTEMPT_SECONDS,
        name: str = "resend",
    ) -> None:
        self.name = name
        self._caller = HttpCaller(
            account.emails_url,
            headers={"Authorization": f"Bearer {account.api_key}", "Content-Type": "application/json"},
            classify=reply_outcome,
            connections=connections,
            attempt_seconds=attempt_seconds,
        )

    async def send(self, message: OutgoingMail) -> Outcome:
        """Try once. See `Provider.send`.

        The delivery and what it says make the idempotency key: what is tried again within a day, Resend sends
        once. What an operator has corrected meanwhile is another mail.
        """
        request = orjson.dumps(request_of(message))
        key = f"{message.reference}-{sha256(request).hexdigest()[:_KEY_DIGITS]}"
        return await self._caller.post(request, headers={"Idempotency-Key": key})

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._caller.aclose()


def request_of(message: OutgoingMail) -> dict[str, Any]:
    """Return a mail as Resend's parameters: it writes the mail itself, with our headers in it."""
    mail = message_from_bytes(message.content, policy=policy.default)
    request: dict[str, Any] = {
        "from": str(mail["From"]),
        "to": [message.recipient],
        "subject": str(mail["Subject"]),
        **_bodies(mail),
    }
    if mail["Reply-To"]:
        request["reply_to"] = str(mail["Reply-To"])
    headers = {name: str(value) for name, value in mail.items() if name.lower() not in _OWN_FIELDS}
    return request | ({"headers": headers} if headers else {})


def _bodies(mail: EmailMessage) -> dict[str, str]:
    kinds = {"text": "plain", "html": "html"}
    parts = {name: mail.get_body((kind,)) for name, kind in kinds.items()}
    texts = {name: part.get_content() for name, part in parts.items() if part is not None}
    return {name: text.replace("\r\n", "\n") for name, text in texts.items()}
