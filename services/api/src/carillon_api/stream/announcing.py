"""Tells open streams, here and on the other replicas, what a request has changed."""

import asyncio
from collections import deque
from uuid import uuid4

import structlog
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveChunk, LiveFrame

from carillon_api.inbox.models import Counts
from carillon_api.intake.publishing import Publishes
from carillon_api.stream.frames import JSON
from carillon_api.stream.hub import Hub

_AT_ONCE = 200
_MAX_WAITING = 5_000
MAX_ITEMS = 100
"""A change of more is announced by its number only."""

log = structlog.get_logger(__name__)


class Announcer:
    """Never fails a request: an announcement that is lost is found when streams are compared with feeds."""

    def __init__(self, hub: Hub, publisher: Publishes) -> None:
        self._hub = hub
        self._publisher = publisher
        self._waiting: deque[LiveChunk] = deque(maxlen=_MAX_WAITING)
        self._arrived = asyncio.Event()

    async def announce(self, *, tenant: str, subscriber: str, counts: Counts, change: JSON) -> None:
        """Announce a committed change; `change` is what an `update` says of it, without the counts."""
        head = LiveFrame(
            subscriber=subscriber, seq=counts.seq, unread=counts.unread, unseen=counts.unseen, tail=0
        )
        too_much = len(change.get("items", ())) > MAX_ITEMS
        changes = LiveChunk(tenant=tenant, event="update", tails=[{} if too_much else change], frames=[head])
        await self._hub.show(changes)  # without the detour, and also while the broker is away
        self._waiting.append(changes)
        self._arrived.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._publish(
                    [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                )

    async def _publish(self, batch: list[LiveChunk]) -> None:
        if not self._publisher.connected:
            return
        results = await self._publisher.publish_many(
            [live(changes, message_id=str(uuid4())) for changes in batch]
        )
        failed = sum(result is not None for result in results)
        if failed:
            log.warning("changes not announced", count=failed)
