import asyncio
import contextlib
import json

import httpx2
import pytest
from carillon_cli.api import Api
from carillon_cli.connection import ApiAccess
from carillon_cli.failures import CommandError
from carillon_cli.feed_stream import FeedStream

ACCESS = ApiAccess("http://api.test", "ck_test_key")


class Scripted:
    """An API that mints numbered tokens and gives out streams one after the other."""

    def __init__(self, *streams: httpx2.Response | Exception) -> None:
        self.streams = list(streams)
        self.opened: list[httpx2.Headers] = []
        self.tokens = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/tokens"):
            self.tokens += 1
            return httpx2.Response(201, json={"token": f"token-{self.tokens}"})
        self.opened.append(request.headers)
        stream = self.streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        return stream


def _stream(*frames: str) -> httpx2.Response:
    return httpx2.Response(
        200, headers={"content-type": "text/event-stream"}, text="".join(f"{frame}\n\n" for frame in frames)
    )


def _frame(number: int) -> str:
    return f"id: {number}\nevent: notification\ndata: {json.dumps({'n': number})}"


async def _take(script: Scripted, count: int, *, last_event_id: str | None = None) -> list[int]:
    transport = httpx2.MockTransport(script)
    taken: list[int] = []
    async with Api(ACCESS, transport=transport) as api, asyncio.timeout(10):
        stream = FeedStream(api, "bat", last_event_id=last_event_id, transport=transport)
        async with contextlib.aclosing(stream.frames()) as frames:
            async for frame in frames:
                taken.append(json.loads(frame.data)["n"])
                if len(taken) == count:
                    break
    return taken


async def test_a_stream_that_ends_is_resumed_after_its_last_frame() -> None:
    script = Scripted(_stream(_frame(1), _frame(2), "retry: 1"), _stream(": ping", _frame(3)))
    assert await _take(script, 3) == [1, 2, 3]
    assert "last-event-id" not in script.opened[0]
    assert script.opened[1]["last-event-id"] == "2"
    assert script.tokens == 1


async def test_a_lost_connection_is_opened_anew() -> None:
    script = Scripted(httpx2.ReadError("gone"), _stream(_frame(7)))
    assert await _take(script, 1, last_event_id="6") == [7]
    assert [headers["last-event-id"] for headers in script.opened] == ["6", "6"]


async def test_an_expired_token_is_replaced() -> None:
    script = Scripted(httpx2.Response(401, json={"title": "Expired."}), _stream(_frame(1)))
    assert await _take(script, 1) == [1]
    assert script.opened[-1]["authorization"] == "Bearer token-2"


async def test_a_refused_topic_ends_it_at_once() -> None:
    script = Scripted(httpx2.Response(403, json={"title": "Not yours."}))
    with pytest.raises(CommandError, match="Not yours"):
        await _take(script, 1)
    assert len(script.opened) == 1
