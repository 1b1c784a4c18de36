"""The response that is a stream."""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from carillon_api.errors import Problem, unavailable
from carillon_api.stream.connection import StreamRequest
from carillon_api.stream.holding import hold
from carillon_api.stream.hub import Hub, TooManyStreamsError

_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
_RETRY_SECONDS = 10


class EventStream(Response):
    """Opens a stream in the hub and waits, doing nothing, until the client leaves or the hub ends it."""

    def __init__(self, hub: Hub, asked: StreamRequest) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: with headers now, and a body for as long as it lasts."""
        del receive
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        hold(scope, self)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Send the body."""
        try:
            stream = self._hub.open(self._asked, send)
        except TooManyStreamsError:  # taken by somebody else since it was checked
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not stream.ended:
                raise
            _stay_alive()
        finally:
            self._hub.close(stream)


def refused(error: TooManyStreamsError) -> Problem:
    """Return the problem that says why no further stream may be opened."""
    if error.everywhere:
        return unavailable("This replica takes no further streams.", retry_after=_RETRY_SECONDS)
    return Problem(
        "too-many-streams",
        "Too many streams.",
        429,
        "This person has too many streams open; close one.",
        headers={"Retry-After": str(_RETRY_SECONDS)},
    )


def _stay_alive() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
