"""One call of a provider's HTTP interface, and what is known when it has no answer.

For adapters: they say what to post and what an answer means. Whether a message could have left when there is
none is the same for all of them, and decided here. Needs the extra `http` of this package.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx2

from carillon_shared.domain.outcomes import Outcome, Retry, Unknown

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

Classify = Callable[[int, Mapping[str, str], bytes], Outcome]
"""Says what an answer means: its status, its headers, the beginning of its body."""


class HttpCaller:
    """Posts to one address over kept connections."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        classify: Classify,
        connections: int = 10,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self._url = url
        self._classify = classify
        self._attempt_seconds = attempt_seconds
        # Nothing that unpacks to more than was read.
        own = {"Accept-Encoding": "identity"}
        self._client = httpx2.AsyncClient(
            headers={**headers, **own},
            timeout=httpx2.Timeout(attempt_seconds, connect=min(CONNECT_SECONDS, attempt_seconds)),
            limits=httpx2.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEP_ALIVE_SECONDS,
            ),
            trust_env=False,
            follow_redirects=False,
        )

    async def post(self, content: bytes, *, headers: Mapping[str, str] | None = None) -> Outcome:
        """Post once and return what came of it. Never raises but for cancellation."""
        progress = _Progress()
        try:
            async with asyncio.timeout(self._attempt_seconds):
                return await self._post(content, headers, progress)
        except TimeoutError:
            return progress.failure("timeout", "the API did not answer in time")
        except _NOTHING_SENT as error:
            return Retry("connection", f"{type(error).__name__}: {error}", provider_wide=True)
        except httpx2.TimeoutException:
            return progress.failure("timeout", "the API did not answer in time")
        except httpx2.HTTPError as error:
            return progress.failure("disconnected", f"{type(error).__name__}: {error}")

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._client.aclose()

    async def _post(
        self, content: bytes, headers: Mapping[str, str] | None, progress: "_Progress"
    ) -> Outcome:
        extensions = {"trace": progress.trace}
        async with self._client.stream(
            "POST", self._url, content=content, headers=dict(headers or {}), extensions=extensions
        ) as reply:
            return self._classify(reply.status_code, reply.headers, await _beginning(reply))


async def _beginning(reply: httpx2.Response) -> bytes:
    """Return a body, or as much of it as an answer of an API can have; the rest is never read."""
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
