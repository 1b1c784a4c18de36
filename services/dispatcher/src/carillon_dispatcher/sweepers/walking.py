"""Reads a queue from front to end, each message once, and leaves there what is to stay."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from carillon_shared.broker import Incoming
from carillon_shared.consumer.settlement import Ack, Requeue
from carillon_shared.consumer.source import MessageSource

PASS_LIMIT = 20_000
"""Most messages that one broker channel keeps in hand; for more a walk opens another one."""

_BATCH = 500
_READY_SECONDS = 10.0

Look = Callable[[list[Incoming]], Awaitable[set[int]]]
"""Looks at messages and returns the tags of those that are over."""


class QueueWalk:
    """Walks through one queue. What stays is held back until the end, so that it is not met again.

    Only its tag is kept meanwhile. `quiet` seconds without a message are the end of the queue.
    """

    def __init__(
        self, open_source: Callable[[], MessageSource], *, quiet: float = 1.0, most: int = PASS_LIMIT
    ) -> None:
        self._open_source = open_source
        self._quiet = quiet
        self._most = most  # the prefetch of each source
        self._sources: list[MessageSource] = []

    async def walk(self, look: Look) -> int:
        """Show every message to `look`, ack what is over, and return how many messages stay.

        Raises ``TimeoutError`` while the broker is away, and what `look` raises.
        """
        held: list[tuple[MessageSource, list[Incoming]]] = []
        try:
            for source in self._in_turn():
                kept: list[Incoming] = []
                held.append((source, kept))
                await self._read(source, look, kept)
                if len(kept) < self._most:
                    break
        finally:
            for source, kept in held:
                await _give_back(source, kept)
        return sum(len(kept) for _, kept in held)

    def _in_turn(self) -> Iterator[MessageSource]:
        yield from self._sources
        while True:
            source = self._open_source()
            self._sources.append(source)
            yield source

    async def _read(self, source: MessageSource, look: Look, kept: list[Incoming]) -> None:
        try:
            await source.resume()
            async with asyncio.timeout(_READY_SECONDS):
                await source.wait_ready()
            while len(kept) < self._most:
                batch = await source.get_batch(_BATCH, wait=self._quiet)
                if not batch:
                    return
                over: set[int] = set()
                try:
                    over = await look(batch)
                    await source.settle_many([(one, Ack()) for one in batch if one.delivery_tag in over])
                finally:
                    kept += [_slim(one) for one in batch if one.delivery_tag not in over]
        finally:
            await source.pause()


async def _give_back(source: MessageSource, kept: list[Incoming]) -> None:
    """Return these, and what has arrived since and was not looked at."""
    late: list[Incoming] = []
    while more := await source.get_batch(_BATCH, wait=0):
        late += more
    await source.settle_many([(incoming, Requeue()) for incoming in (*kept, *late)])


def _slim(incoming: Incoming) -> Incoming:
    return replace(incoming, body=b"", headers={})
