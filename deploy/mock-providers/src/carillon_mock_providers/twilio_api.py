"""Twilio's Messages resource for WhatsApp: sending, with its answers, errors and faults.

Source: Twilio's pages "Message resource" and "Error and Warning Dictionary".
"""

import base64
import hmac
import re
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import uuid4

import orjson
from fastapi import APIRouter, Request

from carillon_mock_providers.faults import Channel, Decision, Fault
from carillon_mock_providers.http_calls import HttpStage, Refusal
from carillon_mock_providers.http_server import HttpConnections
from carillon_mock_providers.json_reply import JsonReply
from carillon_mock_providers.providers import Providers
from carillon_mock_providers.whatsapp_messages import MessageRequest

_ADDRESS = re.compile(r"whatsapp:\+(\d{7,15})")
_BODY_LIMIT: Final = 1_600
_REFUSALS: Final = {
    Fault.REJECT: (400, 63003, "Channel could not find To address (simulated)"),
    Fault.RETRY: (503, 20503, "Service unavailable (simulated)"),
    Fault.RATE_LIMITED: (429, 20429, "Too Many Requests (simulated)"),
    Fault.SERVER_ERROR: (500, 20500, "Internal server error (simulated)"),
}


def twilio_router(providers: Providers, connections: HttpConnections) -> APIRouter:
    """The route that sends."""
    router = APIRouter(tags=["twilio"])
    endpoint = TwilioEndpoint(providers, connections)

    @router.post("/2010-04-01/Accounts/{account}/Messages.json")
    async def send_message(account: str, request: Request) -> JsonReply:
        """Sends a message, as `POST /2010-04-01/Accounts/{AccountSid}/Messages.json` of Twilio does."""
        return await endpoint.answer(request, account=account)

    return router


class TwilioEndpoint:
    """Answers send requests."""

    def __init__(self, providers: Providers, connections: HttpConnections) -> None:
        self._providers = providers
        self._stage = HttpStage(providers, connections, Channel.TWILIO)
        self._token = providers.settings.twilio_auth_token.get_secret_value()

    async def answer(self, request: Request, *, account: str) -> JsonReply:
        """The reply to one request."""
        given = parse_qs((await request.body()).decode("ascii", "replace"))
        form = {name: values[0] for name, values in given.items()}
        with self._providers.calls.call(Channel.TWILIO):
            if not self._is_allowed(request, account):
                return _refused(401, 20003, "Authenticate")
            to, sender = (_ADDRESS.fullmatch(form.get(name, "")) for name in ("To", "From"))
            if to is None:
                return _refused(400, 21211, f"Invalid 'To' Phone Number: {form.get('To', '')[:40]}")
            if sender is None:
                return _refused(400, 63007, "Twilio could not find a Channel with the specified From address")
            if not form.get("ContentSid") and not 0 < len(form.get("Body", "")) <= _BODY_LIMIT:
                return _refused(400, 21602, "Message body is required, of at most 1600 characters")
            return await self._send(request, form, to[1])

    def _is_allowed(self, request: Request, account: str) -> bool:
        wanted = "Basic " + base64.b64encode(f"{account}:{self._token}".encode()).decode()
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))

    async def _send(self, request: Request, form: dict[str, str], recipient: str) -> JsonReply:
        sid = f"SM{uuid4().hex}"

        def accept(_decision: Decision | None) -> None:
            message = MessageRequest(
                f"+{recipient}", recipient, _kind(form), None, _as_cloud_api(form, recipient)
            )
            self._providers.phones.add(message, message_id=sid, phone_number_id="twilio")

        played = await self._stage.play(request, recipient=recipient, reference="", accept=accept)
        if played is None:
            return JsonReply(None)  # the connection is gone, so nobody reads this
        if isinstance(played, Refusal):
            status, code, text = _REFUSALS[played.decision.fault]
            played.attempt.reply = f"{status} {code}"
            code = played.decision.code or code
            return _refused(status, code, text, retry_after=played.decision.retry_after)
        played.reply = f"201 {sid}"
        body = {"sid": sid, "status": "queued", "to": form["To"], "from": form["From"], "error_code": None}
        return JsonReply(body, status_code=201)


def _kind(form: dict[str, str]) -> str:
    return "template" if form.get("ContentSid") else "text"


def _as_cloud_api(form: dict[str, str], recipient: str) -> bytes:
    """The message in the shape that the phones show."""
    if not form.get("ContentSid"):
        return orjson.dumps({"to": recipient, "type": "text", "text": {"body": form["Body"]}})
    try:
        variables: Any = orjson.loads(form.get("ContentVariables") or "{}")
    except orjson.JSONDecodeError:
        variables = {}
    texts = [{"type": "text", "text": str(text)} for _, text in sorted(variables.items())]
    template = {
        "name": form["ContentSid"],
        "language": {"code": ""},
        "components": [{"type": "body", "parameters": texts}],
    }
    return orjson.dumps({"to": recipient, "type": "template", "template": template})


def _refused(status: int, code: int, message: str, *, retry_after: int | None = None) -> JsonReply:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    more = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": more, "status": status}
    return JsonReply(body, status_code=status, headers=headers)
