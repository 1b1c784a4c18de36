"""A request's body must arrive in time: whoever sends a byte now and then holds a place that others need."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BodyDeadline:
    """ASGI middleware: a body that takes longer than `seconds` ends in a 408 (RFC 9110, 15.5.9)."""

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self._app(scope, receive, send)
            return
        await self._app(scope, _in_time(receive, self._seconds), send)


def _in_time(receive: Receive, seconds: float) -> Receive:
    clock = asyncio.get_running_loop().time
    left = seconds  # of waiting for the client; the time in which we work on what came is ours
    expects_more = True

    async def received() -> Message:
        nonlocal expects_more, left
        if not expects_more:  # what comes now is the client's leaving, which may take as long as it likes
            return await receive()
        asked_at = clock()
        try:
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError:
            raise HTTPException(
                408, f"The body did not arrive within {seconds:g} s.", {"Connection": "close"}
            ) from None
        left -= clock() - asked_at
        expects_more = bool(message.get("more_body", False))
        return message

    return received
