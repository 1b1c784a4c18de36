"""Very many open event streams in a process of their own (`python -m bench.listeners`), counted."""

import asyncio
import json
import mmap
import os
import signal
import struct
import time
from pathlib import Path
from typing import cast

import uvloop

_OPENING = 100  # at a time: what a crowd leaves behind in a server's heap is not an idle stream's
_WORD = 8  # bytes
_JOURNEY = struct.Struct("=qq")
_SENT = b'"sent":'


class Board:
    """Numbers that one process writes and another reads: words in a shared file, with no message between.

    Attributes:
        opened: streams that were answered with their first bytes.
        lost: streams that were refused, or ended by the other side.
        frames: that came with data, on all streams.
    """

    _NAMES = ("opened", "lost", "frames")

    def __init__(self, path: Path) -> None:
        size = _WORD * len(self._NAMES)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), size)).cast("q")

    @property
    def opened(self) -> int:
        return self._words[0]

    @property
    def lost(self) -> int:
        return self._words[1]

    @property
    def frames(self) -> int:
        return self._words[2]

    def add(self, *, opened: int = 0, lost: int = 0, frames: int = 0) -> None:
        self._words[0] += opened
        self._words[1] += lost
        self._words[2] += frames


def journeys(path: Path, *, since: int, until: int) -> list[float]:
    """Return how many seconds each event took that was sent in this time (monotonic nanoseconds)."""
    found = _JOURNEY.iter_unpack(path.read_bytes())
    return [(arrived - sent) / 1e9 for sent, arrived in found if since <= sent <= until]


def sent_at(frame: bytes) -> int | None:
    """Return when the event in this frame was sent, as it says itself (monotonic nanoseconds)."""
    _, found, rest = frame.partition(_SENT)
    digits = rest[:20].split(b"}")[0].split(b",")[0]
    return int(digits) if found and digits.isdigit() else None


class Listener(asyncio.Protocol):
    """One stream. What comes after `opens_with` is frames; the last, unfinished one is kept.

    Attributes:
        settled: done once the stream is open, or lost; None from then on.
    """

    __slots__ = ("_board", "_is_open", "_journeys", "_opens_with", "_request", "_rest", "settled")

    def __init__(self, request: bytes, board: Board, *, opens_with: bytes, journeys: int | None) -> None:
        self._request = request
        self._board = board
        self._opens_with = opens_with
        self._journeys = journeys  # descriptor of the file they are written to
        self._rest = b""
        self._is_open = False
        self.settled: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)  # uvloop's has another ancestry

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._is_open:
            before, found, after = data.partition(self._opens_with)
            if not (found and before.startswith(b"HTTP/1.1 200")):
                self._rest = data
                return
            self._is_open, data = True, after
            self._board.add(opened=1)
            self._settle()
        *frames, self._rest = data.split(b"\n\n")
        with_data = [frame for frame in frames if b"data: " in frame]
        if with_data:
            self._board.add(frames=len(with_data))
            if self._journeys is not None:
                self._note(with_data, self._journeys)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        self._board.add(lost=1)
        self._settle()

    def _settle(self) -> None:
        if self.settled is not None and not self.settled.done():
            self.settled.set_result(None)
        self.settled = None

    def _note(self, frames: list[bytes], file: int) -> None:
        now = time.monotonic_ns()
        for frame in frames:
            sent = sent_at(frame)
            if sent is not None:
                os.write(file, _JOURNEY.pack(sent, now))


async def _listen(board: Board, requests: list[str], arrivals: int | None) -> None:
    """Open every stream and listen until SIGTERM; the process's end is the end of them all."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    gate = asyncio.Semaphore(_OPENING)
    opens_with = os.environ["BENCH_OPENS_WITH"].encode()
    port = int(os.environ["BENCH_PORT"])

    async def connect(request: str) -> None:
        listener = Listener(request.encode(), board, opens_with=opens_with, journeys=arrivals)
        settled = listener.settled = loop.create_future()
        async with gate:
            try:
                await loop.create_connection(lambda: listener, "127.0.0.1", port)
            except OSError:
                board.add(lost=1)
            else:
                await settled

    await asyncio.gather(*(connect(request) for request in requests))
    await stop.wait()


def main() -> None:
    """Do what the environment says."""
    requests = json.loads(Path(os.environ["BENCH_REQUESTS"]).read_text(encoding="utf-8"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    arrivals = os.environ["BENCH_JOURNEYS"]
    file = os.open(arrivals, flags, 0o600) if arrivals else None
    uvloop.run(_listen(Board(Path(os.environ["BENCH_BOARD"])), requests, file))


if __name__ == "__main__":
    main()
