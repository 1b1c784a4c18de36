"""A person's open page: an event stream that is opened again after every end, from where it was.

async with traffic(platform) as flow, listening(platform, flow.tenant, flow.people[:3]) as listeners:
    ...
    await flow.stop()
    (await check(platform, flow.ledger, listeners=listeners)).assert_clean()
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx2
from support.platform import Platform
from support.tenant import Tenant

_PAUSE_SECONDS = 0.2
_TOKEN_SECONDS = 15.0
_SILENCE_SECONDS = (
    40.0  # longer than the server's own pings: the connection is dead without anybody saying so
)


@dataclass(slots=True)
class FeedListener:
    """What one person has seen.

    Attributes:
        url: of the API that it connects to next.
        items: ids in the order in which they were shown.
        last: the newest number seen, from where the stream is opened again. At first the feed is empty.
        connections: how often the stream was opened.
        resets: how often it was told to read the feed anew.
        faults: what a stream must never do.
    """

    url: str
    tenant: Tenant
    person: str
    items: list[UUID] = field(default_factory=list)
    last: int | None = 0
    connections: int = 0
    resets: int = 0
    faults: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Listen until cancelled."""
        token = await self._token()
        while True:
            with suppress(httpx2.HTTPError, TimeoutError):
                await self._listen(token)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _token(self) -> str:
        while True:
            try:
                return await self.tenant.token(self.person)
            except (httpx2.TransportError, AssertionError):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _listen(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        if self.last is not None:
            headers["Last-Event-ID"] = str(self.last)
        limits = httpx2.Timeout(_TOKEN_SECONDS, read=_SILENCE_SECONDS)
        async with (
            httpx2.AsyncClient(base_url=self.url, timeout=limits, trust_env=False) as http,
            http.stream("GET", "/v1/inbox/stream", headers=headers) as reply,
        ):
            if reply.status_code != 200:
                if reply.status_code not in {429, 503}:
                    self.faults.append(f"answered {reply.status_code}")
                return
            self.connections += 1
            await self._read(reply, token)

    async def _read(self, reply: httpx2.Response, token: str) -> None:
        fields: dict[str, str] = {}
        async for line in reply.aiter_lines():
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            if "data" in fields:
                await self._take(fields, token)
            fields = {}

    async def _take(self, fields: dict[str, str], token: str) -> None:
        event, number = fields.get("event"), fields.get("id")
        if event == "reset":
            self.resets += 1
            self.items = await self._whole_feed(token)
        elif event == "notification":
            self._note(json.loads(fields["data"])["item"])
        if number is not None:
            self.last = int(number)

    def _note(self, item: dict[str, Any]) -> None:
        if self.last is not None and item["seq"] != self.last + 1:
            self.faults.append(f"{item['seq']} after {self.last}")
        self.items.append(UUID(item["id"]))

    async def _whole_feed(self, token: str) -> list[UUID]:
        """Read the feed as a page does after a reset, oldest first."""
        found: list[UUID] = []
        params: dict[str, str] = {"limit": "100"}
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=self.url, timeout=_TOKEN_SECONDS, trust_env=False) as http:
            while True:
                reply = await http.get("/v1/inbox", params=params, headers=headers)
                page = reply.raise_for_status().json()
                found += [UUID(item["id"]) for item in page["data"]]
                if page["next_cursor"] is None:
                    return found[::-1]
                params["cursor"] = page["next_cursor"]


@asynccontextmanager
async def listening(
    platform: Platform, tenant: Tenant, people: Sequence[str]
) -> AsyncIterator[list[FeedListener]]:
    """Keep an open page for each of these people, from before anything is in their feeds."""
    listeners = [FeedListener(platform.api_url, tenant, person) for person in people]
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        yield listeners
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
