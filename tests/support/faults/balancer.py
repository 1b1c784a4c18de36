"""A client that spreads requests over replicas, as a load balancer does.

A connection that is refused, or closed before an answer, is tried at the next replica with the same request:
every POST here carries an id of its own.
"""

from collections import Counter
from collections.abc import Sequence

import httpx2

_TRIES_EACH = 3


class Balancer(httpx2.AsyncBaseTransport):
    """A transport over several replicas. `statuses` counts the answers, `elsewhere` the second tries."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._replicas = [httpx2.URL(url) for url in urls]
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)
        self._turn = 0
        self.statuses: Counter[int] = Counter()
        self.elsewhere = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send to the next replica, and to the others when it does not answer."""
        body = await request.aread()
        error: Exception | None = None
        self._turn += 1
        for turn in range(self._turn, self._turn + _TRIES_EACH * len(self._replicas)):
            target = self._replicas[turn % len(self._replicas)]
            url = request.url.copy_with(host=target.host, port=target.port)
            attempt = httpx2.Request(
                request.method,
                url,
                headers=request.headers,
                content=body,
                extensions=request.extensions,
            )
            try:
                reply = await self._inner.handle_async_request(attempt)
            except (
                httpx2.ConnectError,
                httpx2.ReadError,
                httpx2.WriteError,
                httpx2.RemoteProtocolError,
            ) as lost:
                self.elsewhere += 1
                error = lost
                continue
            self.statuses[reply.status_code] += 1
            return reply
        assert error is not None
        raise error

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()
