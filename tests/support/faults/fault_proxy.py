"""A TCP proxy that breaks connections on demand; Toxiproxy's toxics are the model.

async with FaultProxy("127.0.0.1", 5432) as proxy:
    ...                                  # clients connect to proxy.host, proxy.port
    proxy.delay(0.2, jitter=0.1)         # seconds, each direction
    proxy.throttle(10_000)               # bytes a second
    proxy.blackhole(Direction.DOWN)      # nothing comes back, every socket stays open
    proxy.silence()                      # what is open now is lost without a word; new connections are well
    proxy.reset_after(100)               # each connection is reset after 100 more bytes, mid-frame
    proxy.close_late(2.0)                # the end of a stream comes 2 s late
    await proxy.cut()                    # reset (RST) what is open now
    proxy.refuse()                       # and every new connection too
    await proxy.heal()                   # all is well again; what a black hole held flows on
"""

import asyncio
import random
import socket
import struct
from types import TracebackType
from typing import Self

from support.faults.toxics import BOTH, DelayLine, Direction, Toxics

_CHUNK = 16_384
_HELD = 256 * 1024  # bytes on their way, each connection and direction
_SLICES = 20  # a second's bandwidth goes in so many parts
_CONNECT_SECONDS = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST (socket(7))


class FaultProxy:
    """One listening port that forwards to one address."""

    def __init__(self, upstream_host: str, upstream_port: int, *, seed: int = 0) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.accepted = 0
        self.refused = 0
        self._upstream = (upstream_host, upstream_port)
        self._toxics = {direction: Toxics() for direction in Direction}
        self._refusing = False
        self._draw = random.Random(seed)  # noqa: S311 -- jitter is no secret
        self._open: dict[_Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen on a free port of the loopback address."""
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and reset what is open."""
        if self._server is not None:
            self._server.close()
        await self.cut()

    def forward_to(self, host: str, port: int) -> None:
        """Forward new connections to another address, as after a failover."""
        self._upstream = (host, port)

    def delay(self, seconds: float, *directions: Direction, jitter: float = 0.0) -> None:
        """Let every byte be late."""
        for toxics in self._those(directions):
            toxics.latency, toxics.jitter = seconds, jitter

    def throttle(self, bytes_per_second: float, *directions: Direction) -> None:
        """Let no connection carry more than so much."""
        for toxics in self._those(directions):
            toxics.bandwidth = bytes_per_second

    def blackhole(self, *directions: Direction) -> None:
        """Forward nothing, not even the end of a stream, and keep every socket open."""
        for toxics in self._those(directions):
            toxics.flowing.clear()

    def silence(self) -> int:
        """Lose all that open connections carry, for good, as a router that forgot them; return how many.

        Neither end learns that it is half open. New connections are well.
        """
        for connection in self._open:
            connection.silent = True
        return len(self._open)

    def reset_after(self, count: int, *directions: Direction) -> None:
        """Reset each connection, open or new, once it has carried so many more bytes."""
        for toxics in self._those(directions):
            toxics.reset_after = count
        for connection in self._open:
            connection.count_anew()

    def close_late(self, seconds: float, *directions: Direction) -> None:
        """Let the end of a stream come so much later than its last byte."""
        for toxics in self._those(directions):
            toxics.close_delay = seconds

    def refuse(self) -> None:
        """Reset every new connection at once."""
        self._refusing = True

    async def cut(self) -> int:
        """Reset all open connections; return how many there were."""
        ended = list(self._open.items())
        for connection, task in ended:
            connection.reset()
            task.cancel()
        await asyncio.gather(*(task for _, task in ended), return_exceptions=True)
        return len(ended)

    async def heal(self) -> None:
        """Take every fault away."""
        self._refusing = False
        for toxics in self._toxics.values():
            toxics.heal()

    def _those(self, directions: tuple[Direction, ...]) -> list[Toxics]:
        return [self._toxics[direction] for direction in directions or BOTH]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            self.refused += 1
            _reset(writer)
            return
        connection = _Connection(self._toxics, self._draw, reader, writer)
        task = asyncio.create_task(connection.forward(*self._upstream))
        self._open[connection] = task
        task.add_done_callback(lambda _: self._open.pop(connection, None))


class _Connection:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self,
        toxics: dict[Direction, Toxics],
        draw: random.Random,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._toxics = toxics
        self._draw = draw
        self._client = (reader, writer)
        self._writers = [writer]
        self._carried = dict.fromkeys(Direction, 0)
        self.silent = False

    def count_anew(self) -> None:
        self._carried = dict.fromkeys(Direction, 0)

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def forward(self, host: str, port: int) -> None:
        """Carry bytes both ways until both have ended, or either end breaks: then both are reset."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                server_reader, server_writer = await asyncio.open_connection(host, port)
            self._writers.append(server_writer)
            async with asyncio.TaskGroup() as group:
                for direction, reader, writer in (
                    (Direction.UP, self._client[0], server_writer),
                    (Direction.DOWN, server_reader, self._client[1]),
                ):
                    line = DelayLine(_HELD)
                    group.create_task(self._take_in(reader, line, direction))
                    group.create_task(self._give_out(line, writer, direction))
        except* (OSError, TimeoutError, _ResetError):
            self.reset()
        for writer in self._writers:
            writer.close()

    async def _take_in(self, reader: asyncio.StreamReader, line: DelayLine, direction: Direction) -> None:
        toxics = self._toxics[direction]
        while data := await reader.read(_CHUNK):
            await line.put(data, toxics.lateness(self._draw))
        await line.put(b"", toxics.lateness(self._draw) + toxics.close_delay)

    async def _give_out(self, line: DelayLine, writer: asyncio.StreamWriter, direction: Direction) -> None:
        toxics = self._toxics[direction]
        while data := await line.get():
            for part in _parts(data, toxics):
                await toxics.flowing.wait()
                await self._write(part, writer, direction)
        await toxics.flowing.wait()
        if writer.can_write_eof() and not self.silent:
            writer.write_eof()

    async def _write(self, data: bytes, writer: asyncio.StreamWriter, direction: Direction) -> None:
        if self.silent:
            return
        toxics = self._toxics[direction]
        left = None if toxics.reset_after is None else toxics.reset_after - self._carried[direction]
        writer.write(data if left is None else data[: max(left, 0)])
        await writer.drain()
        self._carried[direction] += len(data)
        if left is not None and len(data) >= left:
            raise _ResetError
        if toxics.bandwidth:
            await asyncio.sleep(len(data) / toxics.bandwidth)


class _ResetError(Exception):
    """As many bytes as were allowed have been carried."""


def _parts(data: bytes, toxics: Toxics) -> list[bytes]:
    size = max(int(toxics.bandwidth / _SLICES), 1) if toxics.bandwidth else len(data)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() != -1:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
