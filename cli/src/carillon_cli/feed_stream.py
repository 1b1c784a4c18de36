"""A person's event stream, followed over lost connections and expired tokens."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Sequence

import httpx2
from httpx2 import EventSource, ServerSentEvent

from carillon_cli.api import Api, ProblemError, problem_of, segment

# The server pings every 15 s; silence for three pings is a dead link.
_SILENCE_SECONDS = 45.0
_CONNECT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 10.0
_GIVES_UP = {httpx2.codes.BAD_REQUEST, httpx2.codes.FORBIDDEN, httpx2.codes.NOT_FOUND, 422}


class FeedStream:
    """The frames of one person's stream; `last_event_id` is where it resumes after a lost connection."""

    def __init__(
        self,
        api: Api,
        user: str,
        *,
        topics: Sequence[str] = (),
        last_event_id: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._api = api
        self._user = user
        self._topics = list(topics)
        self._last_event_id = last_event_id
        self._token: str | None = None
        self._pause = 0.0
        self._failures = 0
        self._transport = transport

    async def frames(self) -> AsyncGenerator[ServerSentEvent]:
        """Yield frames for ever, opening the stream anew whenever it ends.

        Raises:
            CommandError: when the stream cannot be had at all, such as for an unknown person.
        """
        while True:
            try:
                async with contextlib.aclosing(self._once()) as opened:
                    async for frame in opened:
                        self._failures = 0
                        yield frame
            except httpx2.TransportError:
                self._failures += 1
            except ProblemError as error:
                self._token = None  # it may have expired
                self._failures += 1
                if error.status in _GIVES_UP or self._failures > 1:
                    raise
            await asyncio.sleep(self._next_pause())

    async def _once(self) -> AsyncGenerator[ServerSentEvent]:
        headers = {"Authorization": f"Bearer {await self._valid_token()}", "Accept": "text/event-stream"}
        if self._last_event_id is not None:
            headers["Last-Event-ID"] = self._last_event_id
        timeout = httpx2.Timeout(_CONNECT_SECONDS, read=_SILENCE_SECONDS)
        params = {"topics": ",".join(self._topics)} if self._topics else {}
        url = f"{self._api.access.url}/v1/inbox/stream"
        async with (
            httpx2.AsyncClient(timeout=timeout, trust_env=False, transport=self._transport) as client,
            client.stream("GET", url, headers=headers, params=params) as reply,
        ):
            if reply.is_error:
                await reply.aread()
                raise problem_of(reply)
            async for frame in EventSource(reply):
                if frame.retry is not None:
                    self._pause = frame.retry / 1000
                if frame.id:
                    self._last_event_id = frame.id
                if frame.data:
                    yield frame

    async def _valid_token(self) -> str:
        if self._token is None:
            path = f"/v1/subscribers/{segment(self._user)}/tokens"
            self._token = str((await self._api.post(path, {"topics": self._topics}))["token"])
        return self._token

    def _next_pause(self) -> float:
        """Return the server's wish, else a growing, jittered time, in seconds."""
        wished, self._pause = self._pause, 0.0
        grown = min(0.2 * 2**self._failures, _LONGEST_PAUSE_SECONDS)
        return wished or grown * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
