"""Carillon twice: the platform as it runs, and the fake that products test with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from carillon_client import AsyncCarillon, Carillon, EventDetail, RetryPolicy
from carillon_client.testing import FakeCarillon
from support.seen import Seen
from support.tenant import Tenant
from support.waiting import eventually

Register = Callable[[str, dict[str, Any]], Awaitable[None]]
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, with a tenant of its own."""

    carillon: AsyncCarillon
    blocking: Carillon
    register_type: Register
    stranger: AsyncCarillon  # with a key that nobody made

    async def register(self, event_type: str, **body: Any) -> str:
        """Register an event type and return its name."""
        await self.register_type(event_type, {"channels": ["inapp"]} | body)
        return event_type

    async def people(self, *subscribers: str, role: str | None = None, topic: str | None = None) -> None:
        """Register people, with a mail address of their own name."""
        for each in subscribers:
            await self.carillon.subscribers.put(each, email=f"{each}@example.org", locale="en")
            if role is not None:
                await self.carillon.roles.add(role, each)
            if topic is not None:
                await self.carillon.topics.add(topic, each)

    async def completed(self, event: UUID) -> EventDetail:
        """Wait until an event has come to rest."""

        async def look() -> list[EventDetail]:
            found = await self.carillon.events.get(event)
            return [found] if found.status == "completed" else []

        (found,) = await eventually(look, seconds=SECONDS, what=f"event {event} to be completed")
        return found

    async def deliveries(self, event: UUID) -> set[tuple[str, str, str, str | None]]:
        """Return (subscriber, channel, status, reason) of an event that has come to rest."""
        await self.completed(event)
        return {
            (each.subscriber, each.channel, each.status, each.reason)
            async for each in self.carillon.deliveries.list(event=event)
        }


@asynccontextmanager
async def real_side(platform: Seen) -> AsyncIterator[Side]:
    tenant: Tenant = await platform.new_tenant()

    async def register(name: str, body: dict[str, Any]) -> None:
        reply = await tenant.http.put(f"/v1/event-types/{name}", json=body)
        assert reply.is_success, reply.text
        contents = {
            "email": {"subject": "Ticket {{ data.n }}", "text": "Number {{ data.n }}"},
            "inapp": {"title": "Ticket {{ data.n }}", "body": "Number {{ data.n }}"},
        }
        for channel in body["channels"]:
            path = f"/v1/event-types/{name}/templates/{channel}/en"
            assert (await tenant.http.put(path, json=contents[channel])).is_success

    settings: dict[str, Any] = {"source": "/test", "retry": RetryPolicy(budget_seconds=SECONDS)}
    async with (
        AsyncCarillon(platform.api_url, tenant.key, **settings) as carillon,
        AsyncCarillon(platform.api_url, "ck_0000000000000000_secret") as stranger,
    ):
        with Carillon(platform.api_url, tenant.key, **settings) as blocking:
            yield Side(carillon, blocking, register, stranger)


@asynccontextmanager
async def fake_side() -> AsyncIterator[Side]:
    fake = FakeCarillon()

    async def register(name: str, body: dict[str, Any]) -> None:
        known = {key: value for key, value in body.items() if key in {"channels", "approval"}}
        fake.register(name, title="Ticket {n}", body="Number {n}", **known)

    async with (
        fake.async_client(source="/test") as carillon,
        fake.async_client(key="ck_0000000000000000_secret") as stranger,
    ):
        with fake.client(source="/test") as blocking:
            yield Side(carillon, blocking, register, stranger)
