"""A client of event streams that reads byte by byte what the server sends, and may stop reading."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `event` is None for a comment or a bare `retry`."""

    event: str | None
    id: str | None
    data: Any
    text: str


@dataclass(slots=True)
class Sse:
    """An open stream."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _buffer: str = field(default="")

    async def next(self, *, seconds: float = SECONDS) -> Frame:
        """Return the next frame that is no ping. Raises ``EOFError`` when the stream has ended cleanly."""
        async with asyncio.timeout(seconds):
            while True:
                frame = await self._frame()
                if not frame.text.startswith(":"):
                    return frame

    async def take(self, count: int, *, seconds: float = SECONDS) -> list[Frame]:
        """Return the next frames."""
        return [await self.next(seconds=seconds) for _ in range(count)]

    async def until_end(self, *, seconds: float = SECONDS) -> list[Frame]:
        """Return every frame up to the clean end."""
        frames = []
        try:
            while True:
                frames.append(await self.next(seconds=seconds))
        except EOFError:
            return frames

    async def body(self) -> Any:
        """Return the JSON of an answer that is no stream."""
        length = int(self.headers.get("content-length", "0"))
        return json.loads(await self.reader.readexactly(length)) if length else None

    async def _frame(self) -> Frame:
        while "\n\n" not in self._buffer:
            self._buffer += await self._chunk()
        text, self._buffer = self._buffer.split("\n\n", 1)
        fields = dict(line.split(": ", 1) for line in text.split("\n") if not line.startswith(":"))
        data = json.loads(fields["data"]) if "data" in fields else None
        return Frame(fields.get("event"), fields.get("id"), data, text)

    async def _chunk(self) -> str:
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        if size == 0:
            raise EOFError
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data.decode()


@asynccontextmanager
async def sse(
    url: str,
    path: str = "/v1/inbox/stream",
    *,
    token: str | None = None,
    last_event_id: str | None = None,
    receive_buffer: int | None = None,
    **headers: str,
) -> AsyncIterator[Sse]:
    """Open a stream, whatever the answer."""
    place = urlsplit(url)
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (place.hostname, place.port))
    except BaseException:
        connection.close()
        raise
    limit = 2**16 if receive_buffer is None else receive_buffer
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    lines = [f"GET {path} HTTP/1.1", f"Host: {place.netloc}", "Accept: text/event-stream"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"Last-Event-ID: {last_event_id}"] if last_event_id is not None else []
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        yield await _answer(reader, writer)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Sse:
    async with asyncio.timeout(SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    return Sse(
        int(head[0].split(" ")[1]), {name.lower(): value for name, value in headers.items()}, reader, writer
    )
