"""A request's body must arrive in time; what comes after it may take as long as it likes."""

import asyncio

import pytest
from carillon_api.slow_bodies import BodyDeadline
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

SECONDS = 0.05
PIECE: Message = {"type": "http.request", "body": b"{", "more_body": True}
END: Message = {"type": "http.request", "body": b"}"}
GONE: Message = {"type": "http.disconnect"}


async def _pass_through(pieces: list[Message], *, method: str = "POST", last: float = 0.0) -> list[Message]:
    """Return what an application behind the deadline receives; the last piece comes after `last` seconds."""
    received: list[Message] = []
    left = iter(pieces)

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        while len(received) < len(pieces):
            received.append(await receive())

    async def receive() -> Message:
        piece = next(left)
        if piece is pieces[-1]:
            await asyncio.sleep(last)
        return piece

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is answered here")

    await BodyDeadline(app, seconds=SECONDS)({"type": "http", "method": method}, receive, send)
    return received


async def test_a_body_that_arrives_is_passed_on() -> None:
    assert await _pass_through([PIECE, PIECE, END]) == [PIECE, PIECE, END]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_body_that_does_not_end_is_a_408_and_closes(method: str) -> None:
    with pytest.raises(HTTPException) as caught:
        await _pass_through([PIECE, PIECE, END], method=method, last=10)
    assert caught.value.status_code == 408
    assert caught.value.headers == {"Connection": "close"}


async def test_waiting_for_the_client_to_leave_is_no_body() -> None:
    assert await _pass_through([END, GONE], last=3 * SECONDS) == [END, GONE]
    assert await _pass_through([GONE], method="GET", last=3 * SECONDS) == [GONE]
