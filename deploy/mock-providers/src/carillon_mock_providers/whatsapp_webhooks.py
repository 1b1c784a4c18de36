"""Status webhooks of the Cloud API: their shape, their signature, and posting them.

Source: Meta's pages "Webhooks > Getting started" (verification, `X-Hub-Signature-256`) and "Webhooks >
Components" (`statuses`).
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from carillon_mock_providers.faults import Fault
from carillon_mock_providers.phones import PhoneMessage, Phones
from carillon_mock_providers.whatsapp_errors import webhook_error

_TIMEOUT_SECONDS = 5.0
_TRIES = 5
_FIRST_PAUSE_SECONDS = 0.2
_AT_ONCE = 20
_PENDING_LIMIT = 20_000
_UNDELIVERABLE = 131026

_PLANS = {
    Fault.BOUNCE: ("sent", "failed"),
    Fault.DUPLICATE: ("sent", "sent", "delivered", "delivered", "read", "read"),
    Fault.OUT_OF_ORDER: ("read", "sent", "delivered"),
    Fault.READ_ONLY: ("sent", "read"),
}
_PRICING = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "utility"}
_USUAL_PLAN = ("sent", "delivered", "read")


def status_plan(fault: Fault | None) -> tuple[str, ...]:
    """The statuses reported for an accepted message, in the order they are posted."""
    return _USUAL_PLAN if fault is None else _PLANS.get(fault, _USUAL_PLAN)


def signature(body: bytes, app_secret: str) -> str:
    """The value of `X-Hub-Signature-256` for this body."""
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def status_payload(
    message: PhoneMessage, status: str, *, display_number: str, timestamp: int, failure: int
) -> dict[str, Any]:
    """The webhook for one status of one message; `failure` is the error code of a failed one."""
    person = message.recipients[0]
    entry: dict[str, Any] = {
        "id": message.message_id,
        "status": status,
        "timestamp": str(timestamp),
        "recipient_id": person,
    }
    if status in {"sent", "delivered"}:
        entry["pricing"] = _PRICING
    if status == "failed":
        entry["errors"] = [webhook_error(failure)]
    if message.callback_data is not None:
        entry["biz_opaque_callback_data"] = message.callback_data
    metadata = {"display_phone_number": display_number, "phone_number_id": message.phone_number_id}
    value = {
        "messaging_product": "whatsapp",
        "metadata": metadata,
        "contacts": [{"profile": {"name": f"+{person}"}, "wa_id": person, "user_id": f"ZZ.{person}"}],
        "statuses": [entry],
    }
    change = {"value": value, "field": "messages"}
    return {"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [change]}]}


@dataclass(frozen=True, slots=True)
class WebhookKeys:
    """What sender and receiver share."""

    app_secret: str
    verify_token: str


class StatusWebhooks:
    """Posts statuses to the callback URL, in order for each message, several messages at once."""

    def __init__(
        self, *, url: str, keys: WebhookKeys, phones: Phones, display_number: str, delay_seconds: float
    ) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self._keys = keys
        self._phones = phones
        self._display_number = display_number
        self._delay = delay_seconds
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx2.AsyncClient | None = None

    @property
    def pending(self) -> int:
        """Messages whose statuses were not all posted."""
        return len(self._tasks)

    async def verify(self, url: str) -> bool:
        """Asks a callback URL for the challenge back, as Meta does when the URL is set."""
        challenge = str(secrets.randbelow(10**10))
        question = {
            "hub.mode": "subscribe",
            "hub.verify_token": self._keys.verify_token,
            "hub.challenge": challenge,
        }
        try:
            reply = await self._http().get(url, params=question)
        except httpx2.HTTPError:
            return False
        return reply.status_code == 200 and reply.text == challenge

    def schedule(
        self, message: PhoneMessage, *, fault: Fault | None, failure: int | None = None, skip: int = 0
    ) -> None:
        """Reports the statuses of an accepted message from now on, all but the first `skip`."""
        if not self.url:
            return
        if len(self._tasks) >= _PENDING_LIMIT:
            self.counts["dropped"] += 1
            return
        plan = status_plan(fault)[skip:]
        task = asyncio.create_task(self._report(message, plan, failure or _UNDELIVERABLE))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def report_now(self, message: PhoneMessage, status: str) -> None:
        """Posts one status and returns when that is done or given up."""
        if self.url:
            await self._post(message, status, _UNDELIVERABLE, int(time.time()))

    async def _report(self, message: PhoneMessage, plan: tuple[str, ...], failure: int) -> None:
        stamps: dict[str, int] = {}
        for status in plan:
            await asyncio.sleep(self._delay)
            stamp = stamps.setdefault(status, int(time.time()))
            await self._post(message, status, failure, stamp)

    async def _post(self, message: PhoneMessage, status: str, failure: int, stamp: int) -> None:
        payload = status_payload(
            message, status, display_number=self._display_number, timestamp=stamp, failure=failure
        )
        body = orjson.dumps(payload)
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": signature(body, self._keys.app_secret),
        }
        async with self._places:
            posted = await self._try(body, headers)
        self.counts["posted" if posted else "failed"] += 1
        self._phones.mark(message, status)

    async def _try(self, body: bytes, headers: dict[str, str]) -> bool:
        """Tries again with growing pauses until the receiver says 200, as Meta does (for days)."""
        for attempt in range(_TRIES):
            try:
                reply = await self._http().post(self.url, content=body, headers=headers)
            except httpx2.HTTPError:
                reply = None
            if reply is not None and reply.status_code == 200:
                return True
            await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        return False

    def _http(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)
        return self._client

    def forget(self) -> None:
        """Drops what was not posted yet and starts the counts again."""
        for task in self._tasks:
            task.cancel()
        self.counts.clear()

    async def close(self) -> None:
        """Drops what was not posted yet and lets the connections go."""
        self.forget()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
