"""Sends requests over HTTP."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from importlib.metadata import version
from typing import Any, TypeVar

import httpx2

from carillon_client.call import Call, Page, Reply, Request, next_page
from carillon_client.errors import CarillonError, NotReachableError, error_of
from carillon_client.following import IDLE_SECONDS
from carillon_client.problems import problem_of
from carillon_client.retrying import Attempts, RetryPolicy

T = TypeVar("T")

_NEVER_ARRIVED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_OWN_FAULTS = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)


class AsyncWire:
    """One service at one address, and the credential for it. Connections are kept and used again."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        retry: RetryPolicy,
        timeout: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.retry = retry
        self._key = key
        self._timeout = timeout
        self._http = httpx2.AsyncClient(
            base_url=url,
            timeout=timeout,
            transport=transport,
            headers={"User-Agent": f"carillon-client/{version('carillon-client')}"},
        )

    async def perform(self, call: Call[T]) -> T:
        """Return the answer to a call, sent again as the policy says. Raises `CarillonError`."""
        attempts = Attempts(self.retry, call.repeatable)
        while True:
            try:
                return call.answer(await self._exchange(call.request))
            except CarillonError as error:
                pause = attempts.pause_after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def rows(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        """Yield the rows of a list, page by page."""
        following: Call[Page[T]] | None = call
        while following is not None:
            page = await self.perform(following)
            for row in page.rows:
                yield row
            following = next_page(following, page)

    async def stream(self, request: Request) -> AsyncGenerator[httpx2.ServerSentEvent, None]:
        """Yield what an event stream says, until it ends. Raises `CarillonError`."""
        patience = httpx2.Timeout(self._timeout, read=IDLE_SECONDS)
        try:
            async with self._http.stream(**self._arguments(request), timeout=patience) as response:
                if response.status_code != httpx2.codes.OK:
                    body = await response.aread()
                    raise error_of(problem_of(response.status_code, _headers(response), body))
                async for sse in httpx2.EventSource(response):
                    yield sse
        except _OWN_FAULTS:
            raise
        except httpx2.RequestError as error:
            raise _not_reachable(error) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _exchange(self, request: Request) -> Reply:
        late = time.monotonic() + self._timeout
        body = bytearray()
        try:
            async with self._http.stream(**self._arguments(request)) as response:
                async for piece in response.aiter_bytes():
                    body += piece
                    if time.monotonic() > late:  # a limit on each read alone lets a slow server drip for ever
                        raise NotReachableError(f"no whole answer within {self._timeout:g} s")
                return Reply(response.status_code, _headers(response), bytes(body))
        except _OWN_FAULTS:
            raise
        except httpx2.RequestError as error:
            raise _not_reachable(error) from error

    def _arguments(self, request: Request) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        headers |= request.headers or {}
        credential = request.token or self._key
        if credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        return {
            "method": request.method,
            "url": request.path,
            "params": request.query or None,
            "content": request.body,
            "headers": headers,
        }


def _headers(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _not_reachable(error: httpx2.RequestError) -> NotReachableError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return NotReachableError(what, not isinstance(error, _NEVER_ARRIVED))
