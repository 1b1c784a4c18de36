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
    """Send the head at once and then a byte of the body after each pause, until an answer has come and the
    server has closed the connection.
    """
    async with asyncio.timeout(seconds):
        reader, writer = await _connected(url)
        dripping = asyncio.create_task(_drip(writer, request.text, pause))
        try:
            answer = await _answer(reader)
            assert await reader.read() == b""  # it is closed
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)
            await _close(writer)
    return answer


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(url)
    return await asyncio.open_connection(place.hostname, place.port)


async def _drip(writer: asyncio.StreamWriter, text: bytes, pause: float) -> None:
    head, _, body = text.partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    for byte in body:
        await asyncio.sleep(pause)  # the fault itself
        writer.write(bytes([byte]))


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split(" ", 2)[1]), headers, body)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
