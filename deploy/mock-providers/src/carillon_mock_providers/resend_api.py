"""Resend's HTTP interface: sending one mail, with its answers, errors, idempotency and faults.

Source: Resend's API reference, "Send Email", "Idempotency Keys" and "Errors".
"""

import asyncio
import hmac
from collections import OrderedDict
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from typing import Any, Final
from uuid import uuid4

import orjson
from fastapi import APIRouter, Request

from carillon_mock_providers.faults import Channel, Decision, Fault
from carillon_mock_providers.http_calls import HttpStage, Refusal
from carillon_mock_providers.http_server import HttpConnections
from carillon_mock_providers.json_reply import JsonReply
from carillon_mock_providers.providers import Providers

_MAX_KEYS: Final = 100_000
_REFUSALS: Final = {
    Fault.REJECT: (422, "validation_error", "Invalid `to` field. The recipient is suppressed (simulated)."),
    Fault.RETRY: (500, "application_error", "An unexpected error occurred (simulated)."),
    Fault.RATE_LIMITED: (429, "rate_limit_exceeded", "Too many requests (simulated)."),
    Fault.SERVER_ERROR: (500, "internal_server_error", "An unexpected error occurred (simulated)."),
}


def resend_router(providers: Providers, connections: HttpConnections) -> APIRouter:
    """The route that sends."""
    router = APIRouter(tags=["resend"])
    endpoint = EmailsEndpoint(providers, connections)

    @router.post("/emails")
    async def send_email(request: Request) -> JsonReply:
        """Sends a mail, as `POST /emails` of Resend does."""
        return await endpoint.answer(request)

    return router


class EmailsEndpoint:
    """Answers send requests; each idempotency key is sent once."""

    def __init__(self, providers: Providers, connections: HttpConnections) -> None:
        self._providers = providers
        self._stage = HttpStage(providers, connections, Channel.RESEND)
        self._token = f"Bearer {providers.settings.resend_api_key.get_secret_value()}".encode()
        self._sent: OrderedDict[str, str] = OrderedDict()

    async def answer(self, request: Request) -> JsonReply:
        """The reply to one request."""
        source = await request.body()
        with self._providers.calls.call(Channel.RESEND):
            given = request.headers.get("Authorization", "").encode("utf-8", "replace")
            if not hmac.compare_digest(given, self._token):
                return _refused(403, "invalid_api_key", "API key is invalid")
            body = _object(source)
            missing = next((name for name in ("from", "to", "subject") if not body.get(name)), None)
            if missing or not (body.get("html") or body.get("text")):
                wanted = missing or "html` or `text"
                return _refused(422, "missing_required_field", f"Missing `{wanted}` field.")
            key = request.headers.get("Idempotency-Key", "")
            if key and key in self._sent:
                return JsonReply({"id": self._sent[key]})
            return await self._send(request, body, key)

    async def _send(self, request: Request, body: dict[str, Any], key: str) -> JsonReply:
        recipients = body["to"] if isinstance(body["to"], list) else [body["to"]]
        recipient = parseaddr(str(recipients[0]))[1].lower()
        identifier = str(uuid4())

        def accept(decision: Decision | None) -> None:
            self._keep(body, recipient, decision)
            if key:
                self._sent[key] = identifier
                if len(self._sent) > _MAX_KEYS:
                    self._sent.popitem(last=False)

        played = await self._stage.play(
            request, recipient=recipient, reference=_reference(body), accept=accept
        )
        if played is None:
            return JsonReply(None)  # the connection is gone, so nobody reads this
        if isinstance(played, Refusal):
            status, name, message = _REFUSALS[played.decision.fault]
            played.attempt.reply = f"{status} {name}"
            return _refused(status, name, message, retry_after=played.decision.retry_after)
        played.reply = f"200 {identifier}"
        return JsonReply({"id": identifier})

    def _keep(self, body: dict[str, Any], recipient: str, decision: Decision | None) -> None:
        box, source, sender = self._providers.mailbox, _mail(body), parseaddr(str(body["from"]))[1]
        mail = box.add(sender=sender, recipients=(recipient,), source=source)
        if decision is not None and decision.fault is Fault.DUPLICATE:
            box.add(sender=sender, recipients=(recipient,), source=source, copy_of=mail.n)
        if decision is not None and decision.fault is Fault.BOUNCE:
            late = decision.delay_seconds
            seconds = self._providers.settings.bounce_seconds if late is None else late
            asyncio.get_running_loop().call_later(seconds, box.bounce, mail, recipient)


def _mail(body: dict[str, Any]) -> bytes:
    """The mail that Resend would write."""
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["Subject"], mail["Date"] = str(body["from"]), str(body["subject"]), formatdate()
    mail["To"] = ", ".join(body["to"]) if isinstance(body["to"], list) else body["to"]
    if body.get("reply_to"):
        mail["Reply-To"] = str(body["reply_to"])
    for name, value in (body.get("headers") or {}).items():
        mail[name] = str(value)
    mail.set_content(str(body.get("text") or ""))
    if body.get("html"):
        mail.add_alternative(str(body["html"]), subtype="html")
    return mail.as_bytes()


def _reference(body: dict[str, Any]) -> str:
    return str((body.get("headers") or {}).get("Message-ID", ""))


def _object(source: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(source)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _refused(status: int, name: str, message: str, *, retry_after: int | None = None) -> JsonReply:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"statusCode": status, "name": name, "message": message}
    return JsonReply(body, status_code=status, headers=headers)
