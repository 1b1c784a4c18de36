"""Follows a person's stream for as long as somebody listens."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from carillon_client.aio.wire import AsyncWire
from carillon_client.errors import CarillonError, UnauthorizedError
from carillon_client.feed import Frame
from carillon_client.following import Following

TokenSource = Callable[[], Awaitable[str]]
"""Returns a token that is good now. Asked at the start, and again when the last one was refused."""


async def follow(wire: AsyncWire, tokens: TokenSource, place: Following) -> AsyncGenerator[Frame, None]:
    """Yield frames, over as many connections as it takes.

    Raises:
        CarillonError: when no further connection would help, as with a new token that is refused.
    """
    token: str | None = None
    while True:
        failure: CarillonError | None = None
        try:
            if token is None:
                token = await tokens()
                place.token_is_fresh = True
            async with aclosing(wire.stream(place.request(token))) as events:
                async for sse in events:
                    for frame in place.take(sse):
                        yield frame
        except CarillonError as error:
            failure = error
        pause = place.pause_after(failure)
        if isinstance(failure, UnauthorizedError):
            token = None
        await asyncio.sleep(pause)
