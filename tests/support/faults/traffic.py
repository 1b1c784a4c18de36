"""A producer of mixed traffic that runs while faults happen, and keeps a ledger of what was accepted.

    async with traffic(platform, rate=20) as flow:
        await flow.accepted(30)           # until 30 more events are in
        await platform.kill("dispatcher")
        await flow.accepted(30)
        await platform.start("dispatcher")
    (await check(platform, flow.ledger)).assert_clean()

It behaves as a producer must: each event has an id of its own, and a post that was refused for a while (429,
503) or not answered is repeated with the same id until it is accepted.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import httpx2
from support.audience import register_many
from support.faults.ledger import Accepted, Ledger
from support.faults.mix import Draft, Mix, register_types
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

_PATIENCE_SECONDS = 60.0
"""How long posts go on being repeated after the end of the traffic."""

_PAUSE_SECONDS = 0.3
_ANSWER_SECONDS = 10.0
_MOST_AT_ONCE = 40
_MOST_EVENTS = 5000


class Traffic:
    """Posts events until told to stop."""

    def __init__(
        self, ledger: Ledger, people: list[str], mix: Mix, *, rate: float, limit: int | None
    ) -> None:
        self.ledger = ledger
        self.people = people
        self._mix = mix
        self._rate = rate
        self._limit = limit or _MOST_EVENTS
        self._stopping = asyncio.Event()
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._posts: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    @property
    def tenant(self) -> Tenant:
        """Whose events these are."""
        return self.ledger.tenant

    def start(self) -> None:
        """Begin to post."""
        self._running = asyncio.create_task(self._run())

    async def accepted(self, more: int = 20, *, seconds: float = 60.0) -> None:
        """Wait until so many more events have been accepted."""
        wanted = len(self.ledger.accepted) + more

        async def look() -> bool:
            self._raise_early()
            return len(self.ledger.accepted) >= wanted

        await eventually(look, seconds=seconds, what=f"{wanted} accepted events")

    async def finished(self) -> None:
        """Wait until all events of a limited traffic have been accepted (or given up)."""
        assert self._running is not None
        await self._running
        await self._settle()

    async def stop(self) -> None:
        """Post nothing new; repeat what is under way until it is accepted, for a minute at most."""
        self._stopping.set()
        if self._running is not None:
            await self._running
        await self._settle()

    def _raise_early(self) -> None:
        if self._running is not None and self._running.done():
            self._running.result()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in count():
            if self._stopping.is_set() or n >= self._limit:
                return
            await self._places.acquire()
            task = asyncio.create_task(self._post(self._mix.next()))
            self._posts.add(task)
            task.add_done_callback(self._posted)
            await self._pause(began + (n + 1) / self._rate - loop.time())

    def _posted(self, task: asyncio.Task[None]) -> None:
        self._posts.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.ledger.surprises.append(f"posting failed: {error!r}")

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), max(seconds, 0))
        except TimeoutError:
            return

    async def _settle(self) -> None:
        if self._posts:
            _, late = await asyncio.wait(self._posts, timeout=_PATIENCE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _post(self, draft: Draft) -> None:
        own = str(draft.body["id"])
        self.ledger.unanswered.add(own)
        event = await self._until_accepted(draft)
        if event is None:
            self.ledger.unanswered.discard(own)
            return
        body = draft.body
        entry = Accepted(event, body["source"], own, body["type"], draft.pairs, datetime.now(UTC))
        self.ledger.accepted[own] = entry
        self.ledger.unanswered.discard(own)
        if draft.cancelled_soon:
            await self._cancel(entry)

    async def _until_accepted(self, draft: Draft) -> UUID | None:
        """Return the event's id; None after an answer that a producer must never get."""
        while True:
            reply = await self._call("POST", "/v1/events", json=draft.body)
            if reply is not None and reply.status_code == 202:
                return UUID(reply.json()["id"])
            if reply is not None and reply.status_code not in {429, 503}:
                self.ledger.surprises.append(
                    f"POST {draft.body['id']}: {reply.status_code} {reply.text[:200]}"
                )
                return None
            self.ledger.postponed += 1
            if reply is not None:
                self._note_refusal(draft, reply)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _note_refusal(self, draft: Draft, reply: httpx2.Response) -> None:
        self.ledger.refused += 1
        if "Retry-After" not in reply.headers:
            self.ledger.surprises.append(f"POST {draft.body['id']}: {reply.status_code} without Retry-After")

    async def _cancel(self, entry: Accepted) -> None:
        entry.asked_to_cancel = True
        while True:
            reply = await self._call("DELETE", f"/v1/events/{entry.event}")
            if reply is not None and reply.status_code == 200:
                return
            if reply is not None and reply.status_code not in {429, 503}:
                self.ledger.surprises.append(f"DELETE {entry.event}: {reply.status_code} {reply.text[:200]}")
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _call(self, method: str, path: str, **options: Any) -> httpx2.Response | None:
        """Return the answer, or None when none came."""
        try:
            # The client's own limits: cancelled from outside while it connects, it may leave a socket open.
            return await self.tenant.http.request(method, path, timeout=_ANSWER_SECONDS, **options)
        except httpx2.TransportError:
            return None


async def prepare_traffic(
    platform: Platform, *, people: int = 12, rate: float = 15.0, limit: int | None = None, seed: int = 1
) -> Traffic:
    """Make a tenant with people, types and templates; return its traffic, not yet started."""
    tenant = await platform.new_tenant()
    await register_types(tenant)
    names = await register_many(platform, tenant, people, with_phone=True)
    mix = Mix(names, source=f"/faults/{uuid4().hex[:8]}", seed=seed)
    return Traffic(Ledger(tenant), names, mix, rate=rate, limit=limit)


@asynccontextmanager
async def traffic(
    platform: Platform, *, people: int = 12, rate: float = 15.0, limit: int | None = None, seed: int = 1
) -> AsyncIterator[Traffic]:
    """Run traffic of a new tenant for as long as the context lasts.

    Args:
        platform: runs already.
        people: how many there are, each with an address on every channel.
        rate: events a second.
        limit: stop after so many events.
        seed: draws the mixture.
    """
    flow = await prepare_traffic(platform, people=people, rate=rate, limit=limit, seed=seed)
    flow.start()
    try:
        yield flow
    finally:
        await flow.stop()
