"""Sends over Meta's WhatsApp Cloud API, and knows for each failure whether the message could have left."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import httpx2
from carillon_shared.domain.outcomes import Outcome, Retry, Unknown

from carillon_whatsapp_worker.message import OutgoingWhatsapp
from carillon_whatsapp_worker.providers.errors import reply_outcome

ATTEMPT_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
MAX_REPLY_BYTES: Final = 65_536

_KEEP_ALIVE_SECONDS: Final = 30.0
_NOTHING_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.WriteError,  # the body did not leave whole, so there was no request to accept
    httpx2.WriteTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.ProxyError,
)


@dataclass(frozen=True, slots=True)
class CloudApiAccount:
    """Which number sends, and with which right."""

    url: str
    version: str
    phone_number_id: str
    access_token: str = field(repr=False)

    @property
    def messages_url(self) -> str:
        """Where messages are posted."""
        return f"{self.url.rstrip('/')}/{self.version}/{self.phone_number_id}/messages"


class CloudApiProvider:
    """A `carillon_shared.delivery.provider.Provider` for the WhatsApp Cloud API."""

    def __init__(
        self,
        account: CloudApiAccount,
        *,
        connections: int = 10,
        attempt_seconds: float = ATTEMPT_SECONDS,
        name: str = "cloud_api",
    ) -> None:
        self.name = name
        self._url = account.messages_url
        self._attempt_seconds = attempt_seconds
        self._client = httpx2.AsyncClient(
            headers={
                "Authorization": f"Bearer {account.access_token}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",  # nothing that unpacks to more than was read
            },
            timeout=httpx2.Timeout(attempt_seconds, connect=min(CONNECT_SECONDS, attempt_seconds)),
            limits=httpx2.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEP_ALIVE_SECONDS,
            ),
            trust_env=False,
            follow_redirects=False,
        )

    async def send(self, message: OutgoingWhatsapp) -> Outcome:
        """Try once. See `Provider.send`."""
        progress = _Progress()
        try:
            async with asyncio.timeout(self._attempt_seconds):
                return await self._post(message, progress)
        except TimeoutError:
            return progress.failure("timeout", "the API did not answer in time")
        except _NOTHING_SENT as error:
            return Retry("connection", f"{type(error).__name__}: {error}", provider_wide=True)
        except httpx2.TimeoutException:
            return progress.failure("timeout", "the API did not answer in time")
        except httpx2.HTTPError as error:
            return progress.failure("disconnected", f"{type(error).__name__}: {error}")

    async def _post(self, message: OutgoingWhatsapp, progress: "_Progress") -> Outcome:
        extensions = {"trace": progress.trace}
        async with self._client.stream(
            "POST", self._url, content=message.body, extensions=extensions
        ) as reply:
            body = await _beginning(reply)
            return reply_outcome(reply.status_code, reply.headers, body)

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._client.aclose()


async def _beginning(reply: httpx2.Response) -> bytes:
    """Return a body, or as much of it as an answer of the API can have; the rest is never read."""
    body = bytearray()
    async for part in reply.aiter_raw():
        body += part
        if len(body) > MAX_REPLY_BYTES:
            break
    return bytes(body[:MAX_REPLY_BYTES])


@dataclass(slots=True)
class _Progress:
    """How far one attempt got, as the HTTP client's trace tells it."""

    handed_over: bool = False

    async def trace(self, event: str, info: object) -> None:
        """Note that the request's body begins to leave: from here on it may be accepted."""
        del info
        if event.endswith("send_request_body.started"):
            self.handed_over = True

    def failure(self, code: str, error: str) -> Outcome:
        """Return `Unknown` when the request may have been accepted, else `Retry`."""
        if self.handed_over:
            return Unknown(code, error, provider_wide=True)
        return Retry(code, error, provider_wide=True)
