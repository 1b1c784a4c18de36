"""A client of the SSE stream that a test reads event by event."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event as the server sent it."""

    event: str
    id: str | None
    data: Any


@dataclass(slots=True)
class EventStream:
    """What has arrived on one stream."""

    events: asyncio.Queue[StreamEvent] = field(default_factory=asyncio.Queue)

    async def next(self, name: str | None = None, *, seconds: float = 20.0) -> StreamEvent:
        """Return the next event, or the next of that name. Raises ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            while True:
                event = await self.events.get()
                if name is None or event.event == name:
                    return event

    def waiting(self) -> list[StreamEvent]:
        """Return what has arrived and was not read."""
        return [self.events.get_nowait() for _ in range(self.events.qsize())]


@asynccontextmanager
async def open_stream(
    url: str, token: str, *, last_event_id: str | None = None, params: dict[str, str] | None = None
) -> AsyncIterator[EventStream]:
    """Open a subscriber's stream for as long as the context lasts."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with (
        httpx2.AsyncClient(base_url=url, timeout=httpx2.Timeout(None), trust_env=False) as http,
        http.stream("GET", "/v1/inbox/stream", headers=headers, params=params) as reply,
    ):
        if reply.status_code != 200:
            raise AssertionError(f"{reply.status_code} {(await reply.aread()).decode()}")
        stream = EventStream()
        reading = asyncio.create_task(_read(reply, stream))
        try:
            yield stream
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _read(reply: httpx2.Response, stream: EventStream) -> None:
    fields: dict[str, str] = {}
    async for line in reply.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            data = json.loads(fields["data"])
            stream.events.put_nowait(StreamEvent(fields.get("event", "message"), fields.get("id"), data))
            fields = {}
        else:
            fields = {}
