"""Holds open streams outside the framework, so that a stream costs what a stream needs.

While a request is being answered, the framework keeps a dozen of coroutines, its parsed parameters and its
exit stacks: 10 kB of the 26 that an idle stream took. So a stream's route only says yes: its response sends
the headers, through whoever has to add some, and notes itself in the scope. Everything that was there for
the request is then let go of, and what is left to wait is here.
"""

from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

_HELD = "carillon.held"
_NO_MORE = frozenset({"path_params", "state"})


class Held(Protocol):
    """A response whose headers are sent and whose body goes on for a while."""

    async def serve(self, receive: Receive, send: Send) -> None:
        """Send the body; returns when the response is over."""
        ...


def hold(scope: Scope, response: Held) -> None:
    """Have a response served once the request is over for the framework."""
    scope[_HELD] = response


class HeldResponses:
    """ASGI middleware. What is outside of it waits with the stream, what is inside is gone by then."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then serve what it has come to."""
        await self._app(scope, receive, send)
        response: Held | None = scope.pop(_HELD, None)
        if response is None:
            return
        # The server keeps the scope until the end; nobody asks it for these any more.
        for name in [name for name in scope if name.startswith("fastapi") or name in _NO_MORE]:
            del scope[name]
        scope["headers"].clear()
        await response.serve(receive, send)
