"""One post to an endpoint."""

import asyncio
import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx2

from carillon_dispatcher.webhooks.guard import AddressGuard, ForbiddenAddressError, Target

_CONNECT_SECONDS: Final = 5.0
_MAX_REPLY_BYTES: Final = 2_000
_AGENT: Final = "Carillon-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of a post. `code` is None when there was no answer; `retry_after` is in seconds."""

    code: int | None
    error: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """True when the endpoint has taken it."""
        return self.code is not None and httpx2.codes.is_success(self.code)

    @property
    def gone(self) -> bool:
        """True when the endpoint says that it wants nothing any more."""
        return self.code == httpx2.codes.GONE


class WebhookClient:
    """Posts to addresses that the guard has looked at. Follows no redirect, uses no proxy."""

    def __init__(self, guard: AddressGuard, *, seconds: float, connections: int) -> None:
        self._guard = guard
        self._seconds = seconds
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            # No connection is kept: each is to the address that was looked up for this post.
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def post(self, url: str, payload: bytes, headers: dict[str, str]) -> Posted:
        """Post once, within the time limit. Never raises but for cancellation."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(await self._guard.target(url), url, payload, headers)
        except ForbiddenAddressError as error:
            return Posted(None, f"refused by us: {error}")
        except TimeoutError:
            return Posted(None, f"no answer within {self._seconds:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Posted(None, f"{type(error).__name__}: {error}"[:500])

    async def _post(self, target: Target, url: str, payload: bytes, headers: dict[str, str]) -> Posted:
        parts = httpx2.URL(url)
        request = self._client.build_request(
            "POST",
            parts.copy_with(host=target.address, userinfo=b""),
            content=payload,
            headers={
                **headers,
                "Host": parts.netloc.decode("ascii"),
                "Content-Type": "application/json",
                "User-Agent": _AGENT,
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": target.host},
        )
        reply = await self._client.send(request, stream=True)
        try:
            return Posted(reply.status_code, await _fault(reply), _retry_after(reply))
        finally:
            await reply.aclose()


async def _fault(reply: httpx2.Response) -> str | None:
    """Return what a refusal says, as far as it is worth reading."""
    if reply.is_success:
        return None
    if reply.is_redirect:
        return "a redirect, which is not followed"
    said = b""
    async for piece in reply.aiter_raw():
        said += piece
        if len(said) >= _MAX_REPLY_BYTES:
            break
    return said[:_MAX_REPLY_BYTES].decode(errors="replace").replace("\0", "")[:500] or None


def _retry_after(reply: httpx2.Response) -> float | None:
    """Return the seconds of Retry-After (RFC 9110, section 10.2.3): a number, or a date."""
    given = reply.headers.get("retry-after", "")
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        moment = email.utils.parsedate_to_datetime(given)
    except ValueError:
        return None
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
