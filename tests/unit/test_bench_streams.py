"""What the benchmark counts on open streams, and what it concludes: a frame lost here is a wrong figure."""

import asyncio
import json
import os
import resource
from pathlib import Path

import pytest
from bench import crowd
from bench.contender import ContenderError
from bench.listeners import Board, Listener, journeys, sent_at
from bench.posting import open_poster
from bench.report import Surroundings
from bench.stream_figures import MEMORY, P50, P99, Bound, Figure, Sample, judged, percentiles, streams_table
from bench.streams import Sizes

READY = b'HTTP/1.1 200 OK\r\n\r\n20\r\nid: 0\nevent: ready\ndata: {"counts":{"unread":0}}\n\n\r\n'
ITEM = b'40\r\nid: 1\nevent: notification\ndata: {"item":{"data":{"n":1,"sent":1200},"seq":1}}\n\n\r\n'
PING = b"8\r\n: ping\n\n\r\n"


def _sample(contender: str, number: int, value: float, *, figure: Figure = P50) -> Sample:
    return Sample(contender=contender, figure=figure, round=number, value=value)


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_every_frame_with_data_is_counted_once_however_the_bytes_come(tmp_path: Path, size: int) -> None:
    board, arrivals = Board(tmp_path / "board"), tmp_path / "arrivals"
    file = os.open(arrivals, os.O_WRONLY | os.O_CREAT, 0o600)
    listener = Listener(b"", board, opens_with=b"event: ready\ndata: ", journeys=file)
    data = READY + ITEM + PING + ITEM
    for start in range(0, len(data), size):
        listener.data_received(data[start : start + size])
    os.close(file)
    assert (board.opened, board.frames, board.lost) == (1, 2, 0)
    assert len(journeys(arrivals, since=1200, until=1200)) == 2
    assert journeys(arrivals, since=1201, until=2000) == []


def test_a_refused_stream_never_counts_as_open(tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    listener = Listener(b"", board, opens_with=b"\r\n\r\n", journeys=None)
    listener.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\ndata: no\n\n")
    listener.connection_lost(None)
    assert (board.opened, board.frames, board.lost) == (0, 0, 1)


def test_what_one_process_counts_another_reads(tmp_path: Path) -> None:
    writer, reader = Board(tmp_path / "board"), Board(tmp_path / "board")
    writer.add(opened=2)
    writer.add(frames=3)
    assert (reader.opened, reader.frames) == (2, 3)


@pytest.mark.parametrize(
    ("frame", "sent"),
    [(b'data: {"sent":17,"a":1}', 17), (b'data: {"sent":17}', 17), (b"data: {}", None), (b'"sent":x}', None)],
)
def test_an_event_says_itself_when_it_was_sent(frame: bytes, sent: int | None) -> None:
    assert sent_at(frame) == sent


def test_where_less_is_better_the_upper_quartile_must_keep_to_the_bound() -> None:
    samples = [
        sample
        for number, value in enumerate([1.0, 1.0, 1.0, 2.0, 2.0], start=1)
        for sample in (_sample("ours", number, value), _sample("theirs", number, 1.0))
    ]
    samples.append(_sample("ours", 9, 50.0))  # of a round without the anchor
    kept, broken, unmeasured, low = (
        Bound(scenario="S", figure=P50, contender="ours", anchor="theirs", at_most=2.0),
        Bound(scenario="S", figure=P50, contender="ours", anchor="theirs", at_most=1.9),
        Bound(scenario="S", figure=P99, contender="ours", at_most=1.0),
        Bound(scenario="S", figure=P50, contender="ours", anchor="theirs", at_least=1.5),
    )
    found = {one.bound: one.met for one in judged(samples, [kept, broken, unmeasured, low])}
    assert found == {kept: True, broken: False, low: False}


def test_percentiles_are_in_milliseconds() -> None:
    p50, p99 = percentiles([number / 1000 for number in range(101)])
    assert (p50, p99) == pytest.approx((50.0, 99.0))


def test_the_table_tells_the_sizes_and_judges_each_bound() -> None:
    where = Surroundings("2026-11-22", "abc", "2 cores", "3.11", 0.5)
    sizes = Sizes(streams=100, rounds=1, seconds=1)
    text = streams_table(where, sizes.described(), [_sample("Carillon, idle", 1, 20_000, figure=MEMORY)])
    assert "100 streams (S7), 150 idle streams (S8), 50 streams of single people" in text
    assert "| Carillon, idle | - | 20,000 (20,000-20,000) | <= 16,384 | no |" in text


def test_too_few_open_files_are_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_kind: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    crowd.make_room(500)  # enough are allowed already
    with pytest.raises(ContenderError, match=r"15500 open files .* 4096 are allowed.*--streams"):
        crowd.make_room(15_000)


async def test_a_request_that_is_refused_ends_the_benchmark() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r")[0]))
            status = b"202 Accepted" if json.loads(body) else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 %s\r\ncontent-length: 2\r\n\r\n{}" % status)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with open_poster(port, "/v1/events", connections=2) as poster:
            posted = await poster.steadily(lambda number, _: b"%d" % (number + 1), rate=1000, seconds=0.01)
            assert posted.count == 10
            assert posted.first < posted.last
            with pytest.raises(ContenderError, match="answered with 503"):
                await poster.post(b"0")
