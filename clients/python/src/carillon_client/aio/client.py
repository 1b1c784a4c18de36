"""Carillon, as an asynchronous Python service sees it."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from carillon_client.aio.batching import AsyncBatcher
from carillon_client.aio.events import AsyncDeliveries, AsyncEvents
from carillon_client.aio.following import TokenSource, follow
from carillon_client.aio.inbox import AsyncInbox
from carillon_client.aio.operators import AsyncDeadLetters, AsyncOperations
from carillon_client.aio.people import AsyncGroups, AsyncSubscribers
from carillon_client.aio.wire import AsyncWire
from carillon_client.answers import Accepted, SignalAccepted
from carillon_client.errors import CarillonError
from carillon_client.event import Event, Person
from carillon_client.feed import Frame
from carillon_client.following import Following
from carillon_client.gathering import BatchLimits
from carillon_client.requests import events
from carillon_client.retrying import Attempts, RetryPolicy
from carillon_client.sending import Encoded, Sending, Sent

_RETRY = RetryPolicy()
_BATCH = BatchLimits()


class AsyncCarillon:
    """Sends events, and asks what became of them. Use one for the whole process, and close it at the end.

    Args:
        url: where the API answers, such as `https://notify.example.org`.
        key: an API key. None for a client that only follows feeds by their tokens.
        source: who sends, for events that name no source. Ids of events are unique within it.
        retry: when a request that failed is sent again.
        timeout: seconds that one attempt may take.
        transport: in place of the network; `carillon_client.testing` has one.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        source: str = "/",
        retry: RetryPolicy = _RETRY,
        timeout: float = 10.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._wire = AsyncWire(url, key, retry=retry, timeout=timeout, transport=transport)
        self._source = source
        self.events = AsyncEvents(self._wire)
        self.deliveries = AsyncDeliveries(self._wire)
        self.subscribers = AsyncSubscribers(self._wire)
        self.roles = AsyncGroups(self._wire, "roles")
        self.topics = AsyncGroups(self._wire, "topics")
        self.dead_letters = AsyncDeadLetters(self._wire)
        self.operations = AsyncOperations(self._wire)

    async def send(self, event: Event) -> Accepted:
        """Hand in one event. When this returns, it is committed.

        It is sent again, with the same id, when the way to the service fails. After an error the same object
        can be sent once more, at any time: what had arrived is answered with `duplicate`.

        Raises:
            NotReachableError: no answer came; whether the event is there is not known.
            UnavailableError, ThrottledError: not at the moment; `retry_after` says when.
            ConflictError: the id was used for another event, or a collapse key is taken.
            ProblemError: it is refused, and will be refused again.
            ValueError: its data cannot be written as JSON.
        """
        return await self._wire.perform(events.send(event, source=self._source))

    async def send_many(self, many: Iterable[Event]) -> list[Sent]:
        """Hand in events in as few requests as possible; the results are in the order given.

        Never raises because of one of them: look at `error` of each, or call `result()`.
        """
        return await self._send_encoded([self._encoded(event) for event in many])

    async def send_to_users_and_roles(
        self, users: Sequence[str | Person], roles: Sequence[str], event: Event
    ) -> Accepted:
        """Send an event to these users and to everybody with one of these roles; nobody hears it twice."""
        return await self.send(events.addressed(event, users=users, roles=roles))

    async def send_to_roles(self, roles: Sequence[str], event: Event) -> Accepted:
        """Send an event to everybody who has one of these roles."""
        return await self.send(events.addressed(event, roles=roles))

    async def send_to_topics(self, topics: Sequence[str], event: Event) -> Accepted:
        """Send an event to everybody who follows one of these topics, or one that they lie in."""
        return await self.send(events.addressed(event, topics=topics))

    async def signal(
        self, name: str, data: Any = None, *, users: Sequence[str] = (), topics: Sequence[str] = ()
    ) -> SignalAccepted:
        """Show something to who is connected now, such as the progress of a job; it is kept nowhere."""
        return await self._wire.perform(events.signal(name, data, users=users, topics=topics))

    def batcher(self, limits: BatchLimits = _BATCH) -> AsyncBatcher:
        """Return a sender that puts events posted at the same time into one request, for `async with`."""
        return AsyncBatcher(self._encoded, self._send_encoded, limits)

    def inbox(self, subscriber: str | None = None, *, token: TokenSource | None = None) -> AsyncInbox:
        """Return a person's feed: by their id (tokens are made with the key), or by a source of tokens."""
        return AsyncInbox(self._wire, self._tokens(subscriber, token))

    def stream(
        self,
        subscriber: str | None = None,
        *,
        token: TokenSource | None = None,
        topics: Sequence[str] = (),
        last_event_id: str | int | None = None,
    ) -> AsyncGenerator[Frame, None]:
        """Yield what happens in a person's feed, for ever; signals of `topics` as well.

        Lost connections come back by themselves, and each change comes once. `last_event_id` goes on after
        `counts.seq` of an earlier stream. Who leaves early closes it: `async with aclosing(...)`.

        Raises `CarillonError` when no further connection would help: no such person, topics not allowed, a
        new token refused.
        """
        cursor = None if last_event_id is None else str(last_event_id)
        place = Following(topics=tuple(topics), cursor=cursor)
        return follow(self._wire, self._tokens(subscriber, token, topics), place)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._wire.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _encoded(self, event: Event) -> Encoded:
        return Encoded(event, event.encoded(source=self._source))

    async def _send_encoded(self, many: Sequence[Encoded]) -> list[Sent]:
        sending = Sending(many, attempts=Attempts(self._wire.retry, repeatable=True))
        while (step := sending.next_step()) is not None:
            await asyncio.sleep(step.pause)
            try:
                sending.answered(await self._wire.perform(step.call))
            except CarillonError as error:
                sending.failed(error)
        return sending.results()

    def _tokens(
        self, subscriber: str | None, token: TokenSource | None, topics: Sequence[str] = ()
    ) -> TokenSource:
        if (subscriber is None) == (token is None):
            raise ValueError("say who: either a subscriber, or a source of tokens")
        if token is not None:
            return token

        async def minted() -> str:
            return (await self.subscribers.token(str(subscriber), topics=topics)).token

        return minted
