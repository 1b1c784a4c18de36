import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from carillon_api.stream import frames
from carillon_api.stream.connection import SIGNAL_SPACING, LiveStream, Person, StreamRequest, chunk
from carillon_api.stream.registry import PING_SECONDS, Streams
from carillon_api.stream.stepping import Message, begin
from carillon_api.stream.tails import Tails
from carillon_shared.clock import SystemClock
from carillon_shared.contracts.messages import LiveChunk, LiveFrame

_TAIL = {
    "event_id": "0199f3a0-0000-7000-8000-000000000001",
    "type": "message",
    "category": "general",
    "priority": "normal",
    "title": "Сайн\nуу",
    "body": "data: x\n\nevent: y",
    "action_url": None,
    "data": {"n": 1},
    "created_at": "2026-11-22T10:00:00Z",
}


class _Client:
    """Takes what is sent, or, once `full`, waits until it is taken on."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.room = asyncio.Event()
        self.room.set()

    async def send(self, message: Message) -> None:
        await self._wait()
        self.got.append(message["body"])

    async def _wait(self) -> None:
        if not self.room.is_set():
            await self.room.wait()


def _asked(subscriber: str = "u-7", topics: frozenset[str] = frozenset()) -> StreamRequest:
    person = Person(1, "acme", subscriber, 7)
    return StreamRequest(person=person, topics=topics, last_event_id=None, expires_at=SystemClock().now())


def _stream(client: _Client, behind: list[LiveStream], **asked: Any) -> LiveStream:
    stream = LiveStream(_asked(**asked), send=client.send, on_behind=behind.append)
    stream.opened, stream.last, stream.newest = True, 4, 4
    return stream


def _chunk(event: Any, *tails: dict[str, Any] | None, seq: int = 18) -> tuple[LiveChunk, LiveFrame]:
    head = LiveFrame(subscriber="u-7", seq=seq, unread=4, unseen=1, item_id=UUID(int=9), tail=0)
    return LiveChunk(tenant="acme", event=event, tails=list(tails), frames=[head]), head


def _said(message: Message | None) -> tuple[list[str], Any]:
    assert message is not None
    *lines, data = message["body"].decode().removesuffix("\n\n").split("\n")
    return lines, json.loads(data.removeprefix("data: "))


def test_a_notification_is_the_head_over_the_shared_tail() -> None:
    changes, head = _chunk("notification", _TAIL)
    lines, data = _said(Tails(changes).frame(head))
    assert lines == ["id: 18", "event: notification"]
    untouched = {"seen_at": None, "read_at": None, "archived_at": None, "snoozed_until": None}
    assert data == {
        "item": {"id": str(UUID(int=9)), "seq": 18, **_TAIL, **untouched},
        "counts": {"unread": 4, "unseen": 1, "seq": 18},
    }


def test_an_update_is_its_tail_with_the_counts() -> None:
    changes, head = _chunk("update", {"all": {"read": True}})
    lines, data = _said(Tails(changes).frame(head))
    assert lines == ["id: 18", "event: update"]
    assert data == {"all": {"read": True}, "counts": {"unread": 4, "unseen": 1, "seq": 18}}


@pytest.mark.parametrize("tails", [(), (None,), ({},), ({"type": "message"},)])
def test_a_tail_without_content_is_read_from_the_database(tails: tuple[dict[str, Any] | None, ...]) -> None:
    changes, head = _chunk("notification", *tails)
    assert Tails(changes).frame(head) is None


def test_the_streams_of_one_person_share_their_frame() -> None:
    changes, head = _chunk("notification", _TAIL)
    tails = Tails(changes)
    assert tails.frame(head) is tails.frame(head)


def test_json_has_times_in_utc_and_ids_as_text() -> None:
    moment, identifier = SystemClock().now(), uuid4()
    said = json.loads(frames.to_json({"at": moment, "id": identifier}))
    assert said == {"at": moment.isoformat().replace("+00:00", "Z"), "id": str(identifier)}


async def test_a_send_that_need_not_wait_is_over_at_once() -> None:
    client = _Client()
    assert begin(client.send, chunk(b"a")) is None
    assert client.got == [b"a"]


async def test_a_send_that_waits_goes_on_when_there_is_room() -> None:
    client = _Client()
    client.room.clear()
    rest = begin(client.send, chunk(b"a"))
    assert rest is not None
    assert client.got == []
    client.room.set()
    await rest
    assert client.got == [b"a"]


async def test_a_send_that_waits_can_be_given_up() -> None:
    client = _Client()
    client.room.clear()
    rest = begin(client.send, chunk(b"a"))
    assert rest is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await rest
    client.room.set()
    assert client.got == []


def test_a_send_that_fails_says_so() -> None:
    async def broken(_message: Message) -> None:
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        begin(broken, chunk(b"a"))


async def test_a_stream_takes_the_next_change_and_no_other() -> None:
    behind: list[LiveStream] = []
    stream = _stream(_Client(), behind)
    assert (stream.takes(4), stream.takes(5)) == (False, True)
    assert behind == []
    assert not stream.takes(7)
    assert (behind, stream.newest) == ([stream], 7)


async def test_a_blocked_stream_keeps_nothing_but_the_number() -> None:
    client, told = _Client(), asyncio.Queue[LiveStream]()
    stream = LiveStream(_asked(), send=client.send, on_behind=told.put_nowait)
    stream.opened, stream.last, stream.newest = True, 4, 4
    client.room.clear()
    stream.write_change(5, chunk(b"five"))
    assert stream.blocked
    assert not stream.takes(6)
    assert not stream.takes(7)
    assert told.empty()
    client.room.set()
    async with asyncio.timeout(5):
        assert await told.get() is stream
    assert (client.got, stream.last, stream.newest) == ([b"five"], 5, 7)


async def test_signals_are_spaced_and_the_newest_of_a_name_wins() -> None:
    client = _Client()
    stream = _stream(client, [])
    assert stream.signal("a", chunk(b"a1"), now=100.0)
    for n in (2, 3):
        assert not stream.signal("a", chunk(b"a%d" % n), now=100.01)
    assert not stream.signal("b", chunk(b"b1"), now=100.02)
    assert not stream.flush_signal(now=100.05)
    assert not stream.flush_signal(now=100.0 + SIGNAL_SPACING)
    assert stream.flush_signal(now=100.0 + 2 * SIGNAL_SPACING)
    assert client.got == [b"a1", b"a3", b"b1"]


async def test_an_ended_stream_writes_no_more() -> None:
    client = _Client()
    stream = _stream(client, [])
    stream.end(b"bye")
    stream.write(chunk(b"more"))
    stream.end(b"bye again")
    assert client.got == [b"bye"]


async def test_streams_are_found_by_person_and_topic_until_removed() -> None:
    streams = Streams()
    one = _stream(_Client(), [], topics=frozenset({"job:1"}))
    two = _stream(_Client(), [], subscriber="u-8", topics=frozenset({"job:1", "job:2"}))
    streams.add(one)
    streams.add(two)
    assert streams.of_topic("acme", "job:1") == (one, two)
    assert streams.of_person("acme", "u-8") == (two,)
    assert streams.of_person("globex", "u-8") == ()
    pinged = [stream for tick in range(PING_SECONDS) for stream in streams.slot(tick)]
    assert set(pinged) == {one, two}
    assert len(pinged) == 2
    streams.remove(one)
    streams.remove(one)
    assert streams.of_topic("acme", "job:1") == (two,)
    assert (len(streams), list(streams)) == (1, [two])
