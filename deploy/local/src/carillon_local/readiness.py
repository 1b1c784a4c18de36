"""Asking over HTTP whether a process is ready."""

import asyncio
from urllib.parse import urlsplit

_SECONDS = 2.0


async def answers_ok(url: str) -> bool:
    """Tell whether a GET of a plain HTTP address answers with status 200 within two seconds."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await _status(url) == 200
    except (OSError, TimeoutError, ValueError):
        return False


async def _status(url: str) -> int:
    place = urlsplit(url)
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        line = await reader.readline()
        return int(line.split()[1]) if line.startswith(b"HTTP/1.") else 0
    finally:
        writer.close()
