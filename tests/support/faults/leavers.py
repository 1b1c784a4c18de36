"""Clients that are gone before they have said or heard everything."""

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 0.05
"""How long one waits for its answer at most: about as long as an answer takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as bytes."""

    text: bytes

    @classmethod
    def of(cls, method: str, path: str, *, token: str, body: Any = None) -> "Request":
        """Write a request with a bearer token and, where given, a JSON body."""
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return cls(head.encode() + content)


async def send_and_leave(url: str, request: Request, draw: random.Random) -> None:
    """Send a request or a part of it, and leave at any moment, with or without a word."""
    place = urlsplit(url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    cut = draw.choice([len(request.text), draw.randrange(len(request.text))])
    writer.write(request.text[:cut])
    await asyncio.sleep(draw.uniform(0, _PATIENCE_SECONDS))  # the fault itself: any moment of the work
    if draw.random() < 0.5:
        writer.transport.abort()
    else:
        writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
