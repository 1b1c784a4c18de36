"""A client that stops reading at the worst moment still gets everything, once."""

import asyncio
from datetime import UTC, datetime
from unittest.mock import Mock

from carillon_api.stream.backlog import Backlog
from carillon_api.stream.catch_up import CatchUp
from carillon_api.stream.connection import LiveStream, Person, StreamRequest, chunk
from carillon_api.stream.frames import PING
from carillon_api.stream.stepping import Message

ASKED = StreamRequest(
    person=Person(1, "acme", "u-1", 1),
    topics=frozenset(),
    last_event_id=None,
    expires_at=datetime(2100, 1, 1, tzinfo=UTC),
)
COUNTS = b'{"unread":1,"unseen":1,"seq":3}'


class _Client:
    """Takes what it is sent while it `reads`."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.got: list[bytes] = []

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.got.append(message["body"])


async def test_a_ping_that_cannot_leave_does_not_swallow_what_is_read_meanwhile() -> None:
    client, catch_up = _Client(), CatchUp(Mock())
    behind: asyncio.Queue[LiveStream] = asyncio.Queue()
    stream = LiveStream(ASKED, send=client.send, on_behind=behind.put_nowait)
    stream.opened, stream.last, stream.newest = True, 2, 3
    catch_up.add(stream)
    client.reads.clear()
    stream.write(chunk(PING))
    backlog = Backlog(COUNTS, feed_seq=3, up_to=3, frames=[b"id: 3\n\n"])
    catch_up._bring(stream, 2, backlog)
    assert stream.last == 2
    client.reads.set()
    async with asyncio.timeout(5):
        catch_up.add(await behind.get())
    catch_up._bring(stream, 2, backlog)
    assert (stream.last, client.got) == (3, [PING, b"id: 3\n\n"])
