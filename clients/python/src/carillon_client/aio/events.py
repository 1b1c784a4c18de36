"""Events and deliveries, after they were sent."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from carillon_client.aio.wire import AsyncWire
from carillon_client.answers import Cancelled, Decided, Delivery, DeliveryCancelled, EventDetail, StoredEvent
from carillon_client.dead_letters import OperationStarted
from carillon_client.requests import events


class AsyncEvents:
    """`/v1/events`. Ids are Carillon's own, from `Accepted.id`."""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def get(self, event: UUID | str) -> EventDetail:
        """Return an event with its status and progress."""
        return await self._wire.perform(events.get_event(event))

    def list(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the parameter's public name
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[StoredEvent]:
        """Yield events, newest first, page by page."""
        return self._wire.rows(events.list_events(type=type, status=status, since=since, until=until))

    async def cancel(self, event: UUID | str) -> Cancelled:
        """Stop what has not left; the answer says how many that were. Asking twice changes nothing."""
        return await self._wire.perform(events.cancel_event(event))

    async def approve(self, event: UUID | str, *, reason: str | None = None) -> Decided:
        """Let an event go on that waits for approval [operator]."""
        return await self._wire.perform(events.decide(event, "approve", reason=reason))

    async def reject(self, event: UUID | str, *, reason: str | None = None) -> Decided:
        """End an event that waits for approval [operator]."""
        return await self._wire.perform(events.decide(event, "reject", reason=reason))


class AsyncDeliveries:
    """`/v1/deliveries`."""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def get(self, delivery: UUID | str) -> Delivery:
        """Return a delivery with every attempt."""
        return await self._wire.perform(events.get_delivery(delivery))

    def list(
        self,
        *,
        event: UUID | str | None = None,
        subscriber: str | None = None,
        channel: str | None = None,
        status: str | None = None,
    ) -> AsyncIterator[Delivery]:
        """Yield deliveries, those of the newest events first."""
        return self._wire.rows(
            events.list_deliveries(event=event, subscriber=subscriber, channel=channel, status=status)
        )

    async def retry(self, delivery: UUID | str, *, reason: str | None = None) -> OperationStarted:
        """Send a dead delivery again [operator]. Raises `ConflictError` where that would not be right."""
        return await self._wire.perform(events.retry_delivery(delivery, reason=reason))

    async def cancel(self, delivery: UUID | str, *, reason: str | None = None) -> DeliveryCancelled:
        """Stop a delivery that has not begun [operator]."""
        return await self._wire.perform(events.cancel_delivery(delivery, reason=reason))
