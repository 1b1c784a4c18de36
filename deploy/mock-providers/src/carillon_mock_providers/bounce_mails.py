"""Mails that come back: delivery status notifications (RFC 3464).

They are posted raw and signed to a receiver, as a mail server pipes them that gets them.
"""

import asyncio
import hashlib
import hmac
from collections import Counter
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from email.utils import format_datetime, make_msgid
from typing import Final

import httpx2

from carillon_mock_providers.mailbox import Bounce

_REPORTER: Final = "mock.carillon.invalid"
_TIMEOUT_SECONDS: Final = 5.0
_TRIES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.2


def bounce_mail(bounce: Bounce, source: bytes) -> bytes:
    """Return the notification: words for people, fields for programs, the headers of what came back."""
    mail = EmailMessage()
    mail["From"] = f"Mail Delivery System <MAILER-DAEMON@{_REPORTER}>"
    mail["To"] = bounce.sender
    mail["Subject"] = "Undelivered Mail Returned to Sender"
    mail["Date"] = _date(bounce)
    mail["Message-ID"] = make_msgid(domain=_REPORTER)
    mail["Auto-Submitted"] = "auto-replied"
    mail.make_mixed()
    mail.replace_header("Content-Type", "multipart/report; report-type=delivery-status")
    headers = source.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    mail.attach(_text("plain", f"Not delivered to {bounce.recipient}:\n{bounce.diagnostic}\n"))
    mail.attach(_status(bounce))
    mail.attach(_text("rfc822-headers", headers.replace("\r\n", "\n") + "\n"))
    return mail.as_bytes()


def _text(subtype: str, content: str) -> EmailMessage:
    part = EmailMessage()
    part.set_content(content, subtype=subtype, cte="8bit")
    del part["MIME-Version"]
    return part


def _status(bounce: Bounce) -> EmailMessage:
    about_mail, about_recipient = Message(), Message()
    about_mail["Reporting-MTA"] = f"dns; {_REPORTER}"
    about_recipient["Final-Recipient"] = f"rfc822; {bounce.recipient}"
    about_recipient["Action"] = "failed"
    about_recipient["Status"] = bounce.status
    about_recipient["Diagnostic-Code"] = bounce.diagnostic
    about_recipient["Last-Attempt-Date"] = _date(bounce)
    part = EmailMessage()
    part["Content-Type"] = "message/delivery-status"
    part.set_payload([about_mail, about_recipient])
    return part


def _date(bounce: Bounce) -> str:
    return format_datetime(datetime.fromtimestamp(bounce.bounced_at, UTC))


class BounceMails:
    """Posts each bounce until it is taken, as a mail server tries again."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self._secret = secret
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx2.AsyncClient | None = None

    def send(self, bounce: Bounce, source: bytes) -> None:
        """Posts a bounce from now on; not at all where no receiver is set."""
        if self.url:
            task = asyncio.get_running_loop().create_task(self._post(bounce_mail(bounce, source)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drops what was not posted yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _post(self, body: bytes) -> None:
        digest = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "message/rfc822", "X-Carillon-Signature": f"sha256={digest}"}
        for attempt in range(_TRIES):
            try:
                reply = await self._http().post(self.url, content=body, headers=headers)
            except httpx2.HTTPError:
                reply = None
            if reply is not None and reply.is_success:
                self.counts["posted"] += 1
                return
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        self.counts["failed"] += 1

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)
        return self._client
