"""`POST /v1/events` without the machinery that a route of FastAPI brings along.

That machinery solves dependencies and parses bodies; this route has none of the first and does the second
itself. Measured in one process, over ASGI and with an empty handler, a request took 39 us of CPU through
FastAPI's route and 13 us through this one: about a sixteenth of what the whole API spends on an event
(docs/benchmarks.md, S4). FastAPI's route stays where it is, behind this one, and describes it.
"""

from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from carillon_api.intake.routes import post_events

PATH = "/v1/events"


class _PostEvents:
    """The route as an ASGI application; what it raises is answered by the application's error handlers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await post_events(Request(scope, receive))
        await response(scope, receive, send)


class HotRoute(Route):
    """Matches `POST /v1/events` by two comparisons."""

    def __init__(self) -> None:
        super().__init__(PATH, _PostEvents, methods=["POST"], include_in_schema=False)
        self.app = _PostEvents()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the exact path; other methods go on to the routes behind."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == PATH:
            return Match.FULL, {"endpoint": post_events, "path_params": {}, "route": self}
        return Match.NONE, {}
