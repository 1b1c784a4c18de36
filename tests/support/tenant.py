"""One customer of a running platform."""

from dataclasses import dataclass
from typing import Any

import httpx2
from support.waiting import eventually


@dataclass(slots=True)
class Tenant:
    """One customer of the platform and a client that speaks for it; `id` is 0 where it is not known."""

    id: int
    slug: str
    key: str
    http: httpx2.AsyncClient

    async def call(self, method: str, path: str, *, expect: int = 200, **options: Any) -> Any:
        """Call the API and return the JSON answer, which must have this status."""
        reply = await self.http.request(method, path, **options)
        assert reply.status_code == expect, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    async def token(self, subscriber: str, **body: Any) -> str:
        """Return a subscriber's token."""
        path = f"/v1/subscribers/{subscriber}/tokens"
        reply = await self.http.post(path, json=body)
        assert reply.is_success, reply.text
        return str(reply.json()["token"])

    async def send(self, **event: Any) -> str:
        """Post an event and return its id."""
        return str((await self.call("POST", "/v1/events", expect=202, json=event))["id"])

    async def event_is(self, event: str, **by_status: int) -> Any:
        """Wait until the event's deliveries are in exactly these states; returns the event."""

        async def look() -> Any:
            found = await self.call("GET", f"/v1/events/{event}")
            return found if found["progress"]["by_status"] == by_status else None

        return await eventually(look, seconds=60, what=f"event {event} to be {by_status}")

    async def deliveries(self, event: str) -> list[dict[str, Any]]:
        """Return all deliveries of an event."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            params = {"event": event, "limit": 200} | ({"cursor": cursor} if cursor else {})
            page = await self.call("GET", "/v1/deliveries", params=params)
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
