"""Streams of the Python client over connections that end in every way: each change once, and in order."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import SimpleNamespace
from typing import Any

import pytest
from carillon_client import (
    AsyncCarillon,
    Carillon,
    ForbiddenError,
    Frame,
    NotFoundError,
    Notification,
    Ready,
    Reset,
    Signal,
    UnreadableFrameError,
    Update,
)
from support.unruly_http import (
    Behaviour,
    UnrulyServer,
    half_an_answer,
    resets,
    says,
    streams,
    unruly_server,
)

EXPIRED = says(401, {"title": "A valid credential is needed.", "status": 401})


@pytest.fixture
def server() -> Iterator[UnrulyServer]:
    with unruly_server() as running:
        yield running


def frame(event: str, data: Any, seq: int | None = None) -> bytes:
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def an_id(number: int) -> str:
    return f"0198c7a2-0000-7000-8000-{number:012}"


def counts(seq: int) -> dict[str, int]:
    return {"unread": seq, "unseen": seq, "seq": seq}


def ready(seq: int) -> bytes:
    return frame("ready", {"counts": counts(seq)}, seq)


def item(seq: int, *, with_id: bool = True) -> bytes:
    shown: dict[str, Any] = {
        "id": an_id(seq),
        "seq": seq,
        "event_id": an_id(seq),
        "type": "t",
        "category": "c",
        "priority": "normal",
        "title": f"Item {seq}",
        "body": "",
        "action_url": None,
        "data": {},
        **dict.fromkeys(("seen_at", "read_at", "archived_at", "snoozed_until")),
        "created_at": "2026-11-21T10:00:00Z",
    }
    return frame("notification", {"item": shown, "counts": counts(seq)}, seq if with_id else None)


def update(seq: int) -> bytes:
    return frame("update", {"items": [{"id": an_id(1), "read": True}], "counts": counts(seq)}, seq)


class Tokens:
    """A source that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def fresh(self) -> str:
        return self.now()

    def now(self) -> str:
        self.asked += 1
        return f"token-{self.asked}"


async def take(server: UnrulyServer, tokens: Tokens, until: Callable[[Frame], bool]) -> list[Frame]:
    seen: list[Frame] = []
    async with (
        AsyncCarillon(server.url) as carillon,
        aclosing(carillon.stream(token=tokens.fresh, topics=["job:1"])) as frames,
    ):
        async for each in frames:
            seen.append(each)
            if until(each):
                break
    return seen


def shown(frames: list[Frame]) -> list[str]:
    return [each.item.title if isinstance(each, Notification) else type(each).__name__ for each in frames]


def is_item(title: str) -> Callable[[Frame], bool]:
    return lambda each: isinstance(each, Notification) and each.item.title == title


CUTS: dict[str, tuple[Behaviour, ...]] = {
    "an orderly end": (streams(ready(0), item(1)),),
    "a cut connection": (streams(ready(0), item(1), cut=True),),
    "a cut within a frame": (streams(ready(0), item(1), item(2)[:40], cut=True),),
    "a cut within the frames of one number": (streams(ready(0), item(1), item(2, with_id=False), cut=True),),
    "nothing but resets for a while": (streams(ready(0), item(1)), resets, half_an_answer),
    "a page of a gateway": (streams(ready(0), item(1)), says(200, b"<html>"), says(502, b"<html>")),
    "503": (streams(ready(0), item(1)), says(503, {"title": "Full", "status": 503}, Retry_After="1")),
    "too many streams": (
        streams(ready(0), item(1)),
        says(429, {"title": "Many", "status": 429}, Retry_After="1"),
    ),
    "a token that expires": (streams(ready(0), item(1)), EXPIRED),
}


@pytest.mark.parametrize("ends", CUTS.values(), ids=CUTS)
async def test_each_change_comes_once_however_connections_end(
    server: UnrulyServer, ends: tuple[Behaviour, ...]
) -> None:
    tokens = Tokens()
    server.will(*ends, streams(ready(1), item(2), item(3)))
    frames = await take(server, tokens, is_item("Item 3"))
    assert shown(frames) == ["Ready", "Item 1", "Ready", "Item 2", "Item 3"]
    asked = server.heard
    assert "last-event-id" not in asked[0].headers
    assert {heard.headers.get("last-event-id") for heard in asked[1:]} == {"1"}
    assert all(heard.path == "/v1/inbox/stream?topics=job%3A1" for heard in asked)
    assert tokens.asked == (2 if EXPIRED in ends else 1)
    assert asked[-1].headers["authorization"] == f"Bearer token-{tokens.asked}"


def test_the_blocking_client_goes_on_in_the_same_way(server: UnrulyServer) -> None:
    tokens = Tokens()
    server.will(streams(ready(0), item(1), cut=True), EXPIRED, streams(ready(1), update(2), item(3)))
    with Carillon(server.url) as carillon, closing(carillon.stream(token=tokens.now)) as frames:
        seen = [next(frames) for _ in range(5)]
    assert shown(seen) == ["Ready", "Item 1", "Ready", "Update", "Item 3"]
    assert [heard.headers.get("last-event-id") for heard in server.heard] == [None, "1", "1"]
    assert tokens.asked == 2


async def test_a_reset_is_shown_and_the_stream_goes_on_after_it(server: UnrulyServer) -> None:
    again = frame("reset", {"reason": "cursor_too_old", "counts": counts(240)}, 240)
    server.will(streams(ready(240), again), streams(ready(240), item(241)))
    frames = await take(server, Tokens(), is_item("Item 241"))
    assert shown(frames) == ["Ready", "Reset", "Ready", "Item 241"]
    assert isinstance(frames[1], Reset)
    assert frames[1].reason == "cursor_too_old"
    assert server.heard[1].headers["last-event-id"] == "240"


async def test_pings_signals_and_kinds_of_later_versions_do_no_harm(server: UnrulyServer) -> None:
    signal = frame("signal", {"name": "job.progress", "data": {"current": 4}, "topic": "job:1"})
    later = frame("invented-later", {"x": 1})
    server.will(streams(ready(0), b": ping\n\n", later, signal, update(1), b": ping\n\n", item(2)))
    frames = await take(server, Tokens(), is_item("Item 2"))
    assert shown(frames) == ["Ready", "Signal", "Update", "Item 2"]
    assert frames[1] == Signal(name="job.progress", data={"current": 4}, topic="job:1")
    assert isinstance(frames[0], Ready)
    assert isinstance(frames[2], Update)
    assert frames[2].items[0].read is True


@pytest.mark.parametrize(("status", "error"), [(403, ForbiddenError), (404, NotFoundError)])
async def test_what_no_further_connection_would_change_is_raised(
    server: UnrulyServer, status: int, error: type[Exception]
) -> None:
    server.will(says(status, {"title": "No.", "status": status}))
    with pytest.raises(error):
        await take(server, Tokens(), lambda _each: False)
    assert len(server.heard) == 1


async def test_a_frame_that_cannot_be_read_ends_the_stream(server: UnrulyServer) -> None:
    server.will(streams(ready(0), frame("notification", {"item": {}}, 1)))
    with pytest.raises(UnreadableFrameError):
        await take(server, Tokens(), lambda _each: False)


async def test_the_server_says_how_long_to_stay_away(server: UnrulyServer) -> None:
    server.will(streams(ready(0), b"retry: 1500\n\n"), streams(ready(0), item(1)))
    async with AsyncCarillon(server.url) as carillon:
        waits: list[float] = []
        frames: AsyncIterator[Frame] = carillon.stream(token=Tokens().fresh)
        with pytest.MonkeyPatch.context() as patched:

            async def note(seconds: float) -> None:
                waits.append(seconds)

            patched.setattr("carillon_client.aio.following.asyncio", SimpleNamespace(sleep=note))
            assert shown([await anext(frames) for _ in range(3)]) == ["Ready", "Ready", "Item 1"]
        await frames.aclose()  # type: ignore[attr-defined]  # a generator
    assert waits == [1.5]
