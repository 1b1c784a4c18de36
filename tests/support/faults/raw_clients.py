"""HTTP clients on raw sockets, each with a connection of its own: as many and as slow as a test likes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from support.faults.leavers import Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(url: str, request: Request, *, seconds: float = 60.0) -> Answer:
    """Send a request at once and return the answer. Raises ``TimeoutError`` and ``OSError``."""
    async with asyncio.timeout(seconds):
        reader, writer = await _connected(url)
        try:
            writer.write(request.text)
            return await _answer(reader)
        finally:
            await _close(writer)


async def ask_slowly(url: str, request: Request, *, pause: float, seconds: float = 60.0) -> Answer:
    """Send the head at once and then a byte of the body after each pause, until the server has closed the
    connection; return what it had answered.

    A byte that is sent after the server's answer makes its end reset the connection: that too is closing.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        transport, heard = await loop.create_connection(_Heard, *_place(url))
        dripping = asyncio.create_task(_drip(transport, request.text, pause))
        try:
            await heard.closed.wait()
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
            transport.close()
    reader = asyncio.StreamReader()
    reader.feed_data(bytes(heard.data))
    reader.feed_eof()
    return await _answer(reader)


class _Heard(asyncio.Protocol):
    """Keeps what came before the end, which a `StreamReader` throws away at a reset."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed.set()


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*_place(url))


def _place(url: str) -> tuple[str, int]:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    return place.hostname, place.port


async def _drip(transport: asyncio.WriteTransport, text: bytes, pause: float) -> None:
    head, _, body = text.partition(b"\r\n\r\n")
    transport.write(head + b"\r\n\r\n")
    for byte in body:
        await asyncio.sleep(pause)  # the fault itself
        transport.write(bytes([byte]))


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split(" ", 2)[1]), headers, body)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
