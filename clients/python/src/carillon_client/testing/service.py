"""The fake itself: what a test gives it, what it asks it, and its place under the client."""

import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2

from carillon_client.aio.client import AsyncCarillon
from carillon_client.blocking.client import Carillon
from carillon_client.testing.answering import Asked, Refused, Said
from carillon_client.testing.planning import plan
from carillon_client.testing.routing import found
from carillon_client.testing.state import AudienceRule, EventType, FakeDelivery, FakeEvent, State, now
from carillon_client.testing.streaming import AsyncStream, BlockingStream, Listeners, opened

URL = "http://carillon.invalid"
_OWN = "/v1/inbox"
_STREAM = "/v1/inbox/stream"
_CHANNELS = ("inapp", "email", "whatsapp")


class FakeCarillon:
    """One tenant, in memory. Everything is delivered before the answer; threads may share it.

    It has no preferences, quiet hours, limits, digests or templates: everybody wants everything at once. Mail
    to `500@` and `500+...@` dies, mail to `reject@` fails, as with the platform's mock providers.
    """

    def __init__(self, *, key: str = "ck_fake_key") -> None:
        self.key = key
        self._state = State()
        self._lock = threading.RLock()
        self._listeners = Listeners()
        self._faults: deque[Refused] = deque()
        self._lost_answers = 0
        self._away = False
        self.register("message", channels=_CHANNELS, title="{title}", body="{body}")

    def client(self, **settings: Any) -> Carillon:
        """Return a blocking client of this fake; settings as for `Carillon`."""
        return Carillon(URL, settings.pop("key", self.key), transport=_Transport(self), **settings)

    def async_client(self, **settings: Any) -> AsyncCarillon:
        """Return an asynchronous client of this fake; settings as for `AsyncCarillon`."""
        return AsyncCarillon(URL, settings.pop("key", self.key), transport=_AsyncTransport(self), **settings)

    def register(
        self,
        event_type: str,
        *,
        channels: Iterable[str] = ("inapp",),
        category: str = "general",
        audience: AudienceRule | None = None,
        approval: bool = False,
        title: str = "",
        body: str = "",
    ) -> None:
        """Register an event type.

        `audience` takes the event's data and returns `{"users": [...], "roles": [...], ...}`; `title` and
        `body` are format strings over its data, for the feed and for mails.
        """
        kind = EventType(event_type, tuple(channels), category, audience, approval, title or event_type, body)
        self._state.types[event_type] = kind

    @property
    def events(self) -> list[FakeEvent]:
        """What was accepted, oldest first."""
        return list(self._state.events.values())

    @property
    def deliveries(self) -> list[FakeDelivery]:
        """Who was told, over which channel, or why not."""
        return list(self._state.deliveries.values())

    def events_of(self, event_type: str) -> list[FakeEvent]:
        """Return what was accepted of one type, oldest first."""
        return [event for event in self.events if event.type == event_type]

    def deliveries_to(self, subscriber: str) -> list[FakeDelivery]:
        """Return what somebody was told, or was not."""
        return [delivery for delivery in self.deliveries if delivery.subscriber == subscriber]

    def release_scheduled(self) -> None:
        """Let the time of every scheduled event come."""
        with self._lock:
            for event in self.events:
                if event.status == "scheduled":
                    event.accepted_at = now()
                    plan(self._state, event)
        self._listeners.told()

    def refuse_next(self, status: int = 503, *, times: int = 1, retry_after: float | None = None) -> None:
        """Refuse the next requests with this status."""
        slug = {429: "throttled", 503: "unavailable"}.get(status, "conflict")
        self._faults.extend(Refused(status, slug, retry_after=retry_after) for _ in range(times))

    def lose_next_answers(self, times: int = 1) -> None:
        """Carry the next requests out, and lose their answers on the way."""
        self._lost_answers += times

    def go_away(self) -> None:
        """Be not reachable at all, until `come_back`."""
        self._away = True

    def come_back(self) -> None:
        """Be reachable again."""
        self._away = False

    def handle(self, request: httpx2.Request, content: bytes) -> Said:
        """Answer one request. Raises `httpx2.TransportError` where there is to be no answer."""
        if self._away:
            raise httpx2.ConnectError("the fake is away", request=request)
        with self._lock:
            said = self._answer(request, content)
        self._listeners.told()
        if self._lost_answers:
            self._lost_answers -= 1
            raise httpx2.ReadError("the fake lost this answer", request=request)
        return said

    def _answer(self, request: httpx2.Request, content: bytes) -> Said:
        path = request.url.raw_path.decode().partition("?")[0]
        try:
            if self._faults:
                raise self._faults.popleft()
            asked = self._asked(request, path, content)
            if path == _STREAM:
                place = opened(self._state, asked, request.headers.get("last-event-id"))
                return Said(200, place)
            handler, names = found(request.method, path)
            return handler(self._state, asked, *names)
        except Refused as refused:
            return refused.said()

    def _asked(self, request: httpx2.Request, path: str, content: bytes) -> Asked:
        is_lines = request.headers.get("content-type") == "application/jsonl"
        body = [json.loads(line) for line in content.splitlines()] if is_lines else None
        body = json.loads(content) if content and not is_lines else body
        query: Mapping[str, str] = dict(request.url.params)
        credential = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not path.startswith(_OWN):
            if credential != self.key:
                raise Refused(401, "unauthorized", "The key is unknown.")
            return Asked(query, body)
        subscriber, topics, end = self._state.tokens.get(credential, ("", frozenset(), now()))
        if end <= now():
            raise Refused(401, "unauthorized", "The token is unknown, or has expired.")
        return Asked(query, body, subscriber, topics)


class _Transport(httpx2.BaseTransport):
    def __init__(self, fake: FakeCarillon) -> None:
        self._fake = fake

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        said = self._fake.handle(request, request.read())
        if request.url.path == _STREAM and said.status == httpx2.codes.OK:
            stream = BlockingStream(said.body, self._fake._listeners, self._fake._lock)  # noqa: SLF001 - its own part
            return httpx2.Response(200, headers=_EVENTS, stream=stream)
        return httpx2.Response(said.status, headers=said.headers, content=said.content())


class _AsyncTransport(httpx2.AsyncBaseTransport):
    def __init__(self, fake: FakeCarillon) -> None:
        self._fake = fake

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        said = self._fake.handle(request, await request.aread())
        if request.url.path == _STREAM and said.status == httpx2.codes.OK:
            stream = AsyncStream(said.body, self._fake._listeners, self._fake._lock)  # noqa: SLF001 - its own part
            return httpx2.Response(200, headers=_EVENTS, stream=stream)
        return httpx2.Response(said.status, headers=said.headers, content=said.content())


_EVENTS = {"Content-Type": "text/event-stream"}
