"""The WhatsApp Cloud API: sending messages, with its answers, errors and faults."""

import base64
import hmac
import re
import secrets

import orjson
from fastapi import APIRouter, Request

from carillon_mock_providers.attempts import Attempt, Outcome
from carillon_mock_providers.faults import Channel, Decision, Fault
from carillon_mock_providers.garbage import http_answer
from carillon_mock_providers.http_calls import unless_gone
from carillon_mock_providers.http_server import HttpConnections
from carillon_mock_providers.json_reply import JsonReply
from carillon_mock_providers.open_calls import Ending
from carillon_mock_providers.phones import PhoneMessage
from carillon_mock_providers.providers import Providers
from carillon_mock_providers.whatsapp_errors import CloudApiError
from carillon_mock_providers.whatsapp_messages import MessageRequest, read_message, read_request

_VERSION = re.compile(r"v\d{1,2}\.\d")
_FAULT_CODES = {
    Fault.REJECT: 131026,
    Fault.RETRY: 131016,
    Fault.RATE_LIMITED: 130429,
    Fault.SERVER_ERROR: 131000,
}


def whatsapp_router(providers: Providers, connections: HttpConnections) -> APIRouter:
    """The routes of the Cloud API."""
    router = APIRouter(tags=["whatsapp"])
    endpoint = MessagesEndpoint(providers, connections)

    @router.post("/{version}/{phone_number_id}/messages")
    async def send_message(version: str, phone_number_id: str, request: Request) -> JsonReply:
        """Sends a message, as `POST /{Version}/{Phone-Number-ID}/messages` of the Cloud API does."""
        return await endpoint.answer(request, version=version, phone_number_id=phone_number_id)

    return router


class MessagesEndpoint:
    """Answers send requests."""

    def __init__(self, providers: Providers, connections: HttpConnections) -> None:
        self._providers = providers
        self._connections = connections
        self._token = f"Bearer {providers.settings.whatsapp_token.get_secret_value()}".encode()

    async def answer(self, request: Request, *, version: str, phone_number_id: str) -> JsonReply:
        """The reply to one request; counts as an open call until it is ready."""
        source = await request.body()
        with self._providers.calls.call(Channel.WHATSAPP):
            try:
                self._authorize(request, version=version, phone_number_id=phone_number_id)
                body = read_request(source)
                if body.get("status") == "read":
                    return JsonReply({"success": True})
                message = read_message(body, source=source, templates=self._providers.templates)
                self._providers.limits.check(sender=phone_number_id, recipient=message.wa_id)
            except CloudApiError as error:
                attempt = self._attempt(recipient=_claimed_recipient(source), reference="")
                return self._refuse(attempt, error)
            return await self._send(request, message, phone_number_id)

    def _authorize(self, request: Request, *, version: str, phone_number_id: str) -> None:
        given = request.headers.get("Authorization", "")
        if not given.lower().startswith("bearer "):
            raise CloudApiError(
                104, message="An access token is required to request this resource.", status=401
            )
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            raise CloudApiError(190, message="Invalid OAuth access token - Cannot parse access token")
        if not _VERSION.fullmatch(version):
            raise CloudApiError(2500, message=f"Unknown path components: /{phone_number_id}/messages")
        known = self._providers.settings.whatsapp_phone_number_id
        if known and phone_number_id != known:
            raise CloudApiError(
                100,
                message=f"Unsupported post request. Object with ID '{phone_number_id}' does not exist, "
                "cannot be loaded due to missing permissions, or does not support this operation.",
            )

    async def _send(self, request: Request, message: MessageRequest, phone_number_id: str) -> JsonReply:
        decision = self._providers.faults.decide(channel=Channel.WHATSAPP, recipient=message.wa_id)
        attempt = self._attempt(
            recipient=message.wa_id, reference=message.callback_data or "", decision=decision
        )
        call = SendCall(self._providers, message, phone_number_id, attempt)
        if decision is None:
            call.accept()
            return call.reply()
        ending = await unless_gone(request, call.run(decision))
        if ending is Ending.REFUSE:
            error = CloudApiError(decision.code or _FAULT_CODES[decision.fault])
            return self._refuse(attempt, error, retry_after=decision.retry_after)
        if ending is Ending.ANSWER:
            return call.reply()
        if ending is Ending.CUT:
            self._connections.reset(request)
        if ending is Ending.GARBAGE:
            attempt.reply = f"200 {decision.garbage}"
            self._connections.answer_raw(request, http_answer(decision.garbage))
        # The connection is gone, so nobody reads this.
        return JsonReply(None)

    def _refuse(self, attempt: Attempt, error: CloudApiError, *, retry_after: int | None = None) -> JsonReply:
        self._providers.attempts.settle(attempt, Outcome.REFUSED)
        attempt.reply = f"{error.status} {error.code}"
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if error.status == 401:
            headers["WWW-Authenticate"] = f'OAuth "Facebook Platform" "invalid_token" "{error.message}"'
        return JsonReply(error.body(), status_code=error.status, headers=headers)

    def _attempt(self, *, recipient: str, reference: str, decision: Decision | None = None) -> Attempt:
        return self._providers.attempts.open(
            channel=Channel.WHATSAPP, recipient=recipient, reference=reference, decision=decision
        )


class SendCall:
    """One valid send request on its way to the reply."""

    def __init__(
        self, providers: Providers, message: MessageRequest, phone_number_id: str, attempt: Attempt
    ) -> None:
        self._providers = providers
        self._message = message
        self._phone_number_id = phone_number_id
        self._attempt = attempt
        self._decision: Decision | None = None
        self._kept: PhoneMessage | None = None

    async def run(self, decision: Decision) -> Ending:
        """Plays a fault."""
        self._decision = decision
        try:
            ending = await self._providers.stage.play(
                decision, channel=Channel.WHATSAPP, recipient=self._message.wa_id, accept=self.accept
            )
        finally:
            if self._kept is None:
                self._providers.attempts.settle(self._attempt, Outcome.DROPPED)
        if decision.fault is Fault.EARLY_STATUS and self._kept is not None:
            await self._providers.webhooks.report_now(self._kept, "sent")
            self._providers.webhooks.schedule(self._kept, fault=None, skip=1)
        return ending

    def accept(self) -> None:
        """The provider's point of no return: the message counts as taken."""
        self._kept = self._providers.phones.add(
            self._message, message_id=new_wamid(self._message.wa_id), phone_number_id=self._phone_number_id
        )
        self._providers.attempts.settle(self._attempt, Outcome.ACCEPTED)
        fault = self._decision.fault if self._decision else None
        if fault is not Fault.EARLY_STATUS:
            failure = self._decision.code if self._decision else None
            self._providers.webhooks.schedule(self._kept, fault=fault, failure=failure)

    def reply(self) -> JsonReply:
        """The answer to an accepted message."""
        message_id = self._kept.message_id if self._kept else ""
        self._attempt.reply = f"200 {message_id}"
        return JsonReply(
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": self._message.recipient, "wa_id": self._message.wa_id}],
                "messages": [{"id": message_id, "message_status": "accepted"}],
            }
        )


def new_wamid(wa_id: str) -> str:
    """A message id in the form of the real ones: base64 over the number and random bytes."""
    head = b"\x1d\x02" + len(wa_id).to_bytes(1, "big") + wa_id.encode()
    return "wamid." + base64.b64encode(head + b"\x15\x02\x00\x11\x18" + secrets.token_bytes(12)).decode()


def _claimed_recipient(source: bytes) -> str:
    """Whom a refused request was for, as far as that can be told."""
    try:
        body = orjson.loads(source)
    except orjson.JSONDecodeError:
        return ""
    recipient = body.get("to") if isinstance(body, dict) else None
    return recipient[:64] if isinstance(recipient, str) else ""
