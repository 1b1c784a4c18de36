"""Subscribers, roles and topics."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from carillon_client.aio.wire import AsyncWire
from carillon_client.people import Imported, Subscriber, Token
from carillon_client.requests import people

TOKEN_SECONDS = 3600
"""The longest that a subscriber token lives."""


class AsyncSubscribers:
    """`/v1/subscribers` [subscribers:write]."""

    def __init__(self, wire: AsyncWire) -> None:
        self._wire = wire

    async def put(
        self,
        subscriber: str,
        *,
        email: str | None = None,
        phone: str | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Subscriber:
        """Register a person, or replace what is known of them: what is left out is removed."""
        call = people.put(
            subscriber, email=email, phone=phone, locale=locale, time_zone=time_zone, attributes=attributes
        )
        return await self._wire.perform(call)

    async def put_many(self, many: Iterable[Mapping[str, Any]]) -> AsyncIterator[Imported]:
        """Register many people, or change what is known of them; yields what became of each, in their order.

        Each has an `id`, and what `put` takes; besides `roles` and `topics` (all of them) and `preferences`.
        What is left out stays as it is, None removes it. One that is refused does not hold up the others, and
        the whole may be repeated.
        """
        waiting = iter(many)
        while part := list(islice(waiting, people.LINES)):
            for line in await self._wire.perform(people.put_many(part)):
                yield line

    async def get(self, subscriber: str) -> Subscriber:
        """Return a person with roles and topics. Raises `NotFoundError`."""
        return await self._wire.perform(people.get_subscriber(subscriber))

    def list(self) -> AsyncIterator[Subscriber]:
        """Yield everybody by id, page by page."""
        return self._wire.rows(people.list_subscribers())

    async def delete(self, subscriber: str, *, erase: bool = False) -> None:
        """Forget a person: addresses, roles, topics and preferences. Raises `NotFoundError`.

        With `erase` every trace of them goes: feed, what was rendered, and their id in events and deliveries.
        """
        await self._wire.perform(people.delete(subscriber, erase=erase))

    async def token(
        self, subscriber: str, *, topics: Sequence[str] = (), seconds: int = TOKEN_SECONDS
    ) -> Token:
        """Return a token for this person's own feed. `topics` may be streamed besides those they follow."""
        return await self._wire.perform(people.token(subscriber, topics=topics, seconds=seconds))


class AsyncGroups:
    """`/v1/roles` or `/v1/topics`: who belongs to them [subscribers:write]."""

    def __init__(self, wire: AsyncWire, group: str) -> None:
        self._wire = wire
        self._group = group

    async def add(self, name: str, subscriber: str) -> None:
        """Give somebody a role, or let them follow a topic. Twice is the same as once."""
        await self._wire.perform(people.member("PUT", self._group, name, subscriber))

    async def remove(self, name: str, subscriber: str) -> None:
        """Take a role from somebody, or end their following a topic."""
        await self._wire.perform(people.member("DELETE", self._group, name, subscriber))

    async def members(self, name: str) -> AsyncIterator[str]:
        """Yield the ids of those who have the role or follow the topic."""
        async for member in self._wire.rows(people.list_members(self._group, name)):
            yield member.id
