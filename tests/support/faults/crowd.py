"""Thousands of open event streams, on raw sockets: one object each, no task, hardly any memory."""

import asyncio
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from support.waiting import eventually

_CONNECTING = 200  # at a time, as far as this side is concerned
_HEAD_END = b"\r\n\r\n"


def room_for(files: int) -> None:
    """Raise this process's soft limit of open files as far as its hard limit goes. Children inherit it.

    Raises ``AssertionError`` when that is not enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(files, hard)), hard))
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= files, f"only {hard} open files are allowed"


@dataclass(slots=True, eq=False)
class Listener(asyncio.Protocol):
    """One person's stream. It is opened again from `last` after every end.

    Attributes:
        seqs: numbers of the changes in the order in which they came, through all connections.
        retry: milliseconds that the server asked for before the end, None when it did not.
        faults: what a stream must never do.
    """

    token: str
    seqs: list[int] = field(default_factory=list)
    last: int = 0
    is_open: bool = False
    status: int | None = None
    retry: int | None = None
    faults: list[str] = field(default_factory=list)
    transport: asyncio.Transport | None = None
    _head: bytes = b""
    _raw: bytes = b""
    _text: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.status = self.retry = None
        self._head = self._raw = self._text = b""
        lines = (
            "GET /v1/inbox/stream HTTP/1.1",
            "Host: carillon",
            "Accept: text/event-stream",
            f"Authorization: Bearer {self.token}",
            f"Last-Event-ID: {self.last}",
        )
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        if self.status is None:
            self._head += data
            if _HEAD_END not in self._head:
                return
            head, data = self._head.split(_HEAD_END, 1)
            self.status = int(head.split(b" ", 2)[1])
        if self.status == 200:
            self._raw += data
            self._take_chunks()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's own signature
        self.is_open = False
        self.transport = None

    def _take_chunks(self) -> None:
        """Take the chunks of the transfer coding apart (RFC 9112, section 7.1)."""
        while b"\r\n" in self._raw:
            size_line, rest = self._raw.split(b"\r\n", 1)
            size = int(size_line, 16)
            if len(rest) < size + 2:
                return
            self._text += rest[:size]
            self._raw = rest[size + 2 :]
        while b"\n\n" in self._text:
            frame, self._text = self._text.split(b"\n\n", 1)
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if not line.startswith(b":"))
        if b"retry" in fields:
            self.retry = int(fields[b"retry"])
        match fields.get(b"event"):
            case b"ready":
                self.is_open = True
            case b"reset":
                self.faults.append("was told to begin anew")
            case b"notification" | b"update":
                self.seqs.append(int(fields[b"id"]))
        if b"id" in fields:
            self.last = int(fields[b"id"])


@dataclass(slots=True)
class Crowd:
    """Many listeners of one API."""

    url: str
    listeners: Sequence[Listener]

    async def connect(self) -> None:
        """Open every stream that is not open, all at once."""
        place = urlsplit(self.url)
        loop = asyncio.get_running_loop()
        gate = asyncio.Semaphore(_CONNECTING)

        async def connect(listener: Listener) -> None:
            async with gate:
                await loop.create_connection(lambda: listener, place.hostname or "", place.port or 80)

        away = [one for one in self.listeners if one.transport is None]
        results = await asyncio.gather(*(connect(one) for one in away), return_exceptions=True)
        unexpected = [one for one in results if isinstance(one, Exception) and not isinstance(one, OSError)]
        assert not unexpected, unexpected[0]

    async def all_open(self, *, seconds: float) -> None:
        """Wait until everybody's stream is open, opening again those that were refused."""

        async def look() -> bool:
            if all(one.is_open for one in self.listeners):
                return True
            await self.connect()
            return False

        await eventually(look, seconds=seconds, what=f"{len(self.listeners)} open streams")

    async def all_closed(self, *, seconds: float) -> None:
        """Wait until every stream has ended."""

        async def look() -> bool:
            return all(one.transport is None for one in self.listeners)

        await eventually(look, seconds=seconds, what="every stream to end")

    async def all_have(self, newest: int, *, seconds: float) -> None:
        """Wait until everybody has seen their change of this number."""

        async def look() -> bool:
            return all(one.last >= newest for one in self.listeners)

        await eventually(look, seconds=seconds, what=f"everybody to have seen change {newest}")

    def close(self) -> None:
        """Leave."""
        for one in self.listeners:
            if one.transport is not None:
                one.transport.abort()
