"""Follows a person's stream for as long as somebody listens."""

import time
from collections.abc import Callable, Generator
from contextlib import closing

from carillon_client.blocking.wire import Wire
from carillon_client.errors import CarillonError, UnauthorizedError
from carillon_client.feed import Frame
from carillon_client.following import Following

TokenSource = Callable[[], str]
"""Returns a token that is good now. Asked at the start, and again when the last one was refused."""


def follow(wire: Wire, tokens: TokenSource, place: Following) -> Generator[Frame, None, None]:
    """Yield frames, over as many connections as it takes.

    Raises:
        CarillonError: when no further connection would help, as with a new token that is refused.
    """
    token: str | None = None
    while True:
        failure: CarillonError | None = None
        try:
            if token is None:
                token = tokens()
                place.token_is_fresh = True
            with closing(wire.stream(place.request(token))) as events:
                for sse in events:
                    yield from place.take(sse)
        except CarillonError as error:
            failure = error
        pause = place.pause_after(failure)
        if isinstance(failure, UnauthorizedError):
            token = None
        time.sleep(pause)
