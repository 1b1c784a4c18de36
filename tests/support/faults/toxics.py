"""What is wrong with one direction of a connection, and a line of bytes that are on their way through it."""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class Direction(StrEnum):
    """Which way bytes go."""

    UP = "up"  # from the client to the server
    DOWN = "down"  # from the server to the client


BOTH = (Direction.UP, Direction.DOWN)


@dataclass(slots=True)
class Toxics:
    """The faults of one direction; as made, there is none.

    Attributes:
        latency: seconds by which every byte is late.
        jitter: seconds by which that varies, up or down. Bytes never overtake each other.
        bandwidth: bytes a second; None is without limit.
        reset_after: bytes that each connection still carries before it is reset; None is without end.
        close_delay: seconds by which the end of the stream is late.
        flowing: not set while the direction is a black hole.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float | None = None
    reset_after: int | None = None
    close_delay: float = 0.0
    flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flowing.set()

    def heal(self) -> None:
        """Take every fault away."""
        self.latency = self.jitter = self.close_delay = 0.0
        self.bandwidth = self.reset_after = None
        self.flowing.set()

    def lateness(self, draw: random.Random) -> float:
        """Return by how many seconds the next bytes are late."""
        return max(self.latency + draw.uniform(-self.jitter, self.jitter), 0.0)


class DelayLine:
    """Bytes with the moments at which they may leave. Bounded, so that whoever sends too much has to wait.

    Only the line is late: throughput stays what it was, as on a long cable.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._last = 0.0
        self._changed = asyncio.Condition()

    async def put(self, data: bytes, late: float) -> None:
        """Add bytes, or the end of the stream (no bytes); wait while there is no room."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < self._most)
            self._last = max(self._last, asyncio.get_running_loop().time() + late)
            self._held.append((self._last, data))
            self._size += len(data)
            self._changed.notify_all()

    async def get(self) -> bytes:
        """Return the next bytes when their moment has come; none at the end of the stream."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._held))
            moment, data = self._held[0]
        await asyncio.sleep(max(moment - asyncio.get_running_loop().time(), 0))
        async with self._changed:
            self._held.popleft()
            self._size -= len(data)
            self._changed.notify_all()
        return data
