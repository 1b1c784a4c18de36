"""The fault proxy really does to bytes on loopback what it says."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest
from support.faults.fault_proxy import FaultProxy
from support.faults.toxics import Direction
from support.waiting import eventually

T = TypeVar("T")
SECONDS = 10.0
LATE = 0.3
QUIET = 0.3


@dataclass(slots=True)
class Echo:
    """A server that sends back what it gets, and keeps it."""

    got: bytearray
    ended: asyncio.Event

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.got += data
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@dataclass(slots=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> bytes:
        """Send bytes and return as many."""
        self.writer.write(data)
        return await soon(self.reader.readexactly(len(data)))

    async def hears_nothing(self) -> bool:
        try:
            await asyncio.wait_for(self.reader.read(1), QUIET)
        except TimeoutError:
            return True
        return False


async def is_reset(proxy: FaultProxy) -> bool:
    """Tell whether a new connection is reset before it carries anything."""
    try:
        async with connected(proxy) as client:
            await soon(client.reader.read(1))
    except ConnectionResetError:
        return True
    return False


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(SECONDS):
        return await awaitable


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    served = Echo(bytearray(), asyncio.Event())
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    yield served, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", echo[1]) as made:
        yield made


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_bytes_pass_unchanged_and_connections_are_counted(proxy: FaultProxy) -> None:
    data = bytes(range(256)) * 4000
    async with connected(proxy) as one, connected(proxy) as other:
        assert await one.say(data) == data
        assert await other.say(b"hello") == b"hello"
        assert (proxy.accepted, proxy.open_connections) == (2, 2)
    await eventually(_none_open(proxy), seconds=SECONDS, what="no open connection")
    assert (proxy.accepted, proxy.refused) == (2, 0)


async def test_the_end_of_a_stream_passes_and_the_answer_still_comes(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    async with connected(proxy) as client:
        client.writer.write(b"last")
        client.writer.write_eof()
        assert await soon(client.reader.read()) == b"last"
        assert echo[0].ended.is_set()


@pytest.mark.parametrize("directions", [(Direction.UP,), (Direction.DOWN,), ()])
async def test_bytes_are_late_and_keep_their_order(
    proxy: FaultProxy, directions: tuple[Direction, ...]
) -> None:
    proxy.delay(LATE, *directions, jitter=LATE / 2)
    async with connected(proxy) as client:
        began = time.monotonic()
        for n in range(50):
            client.writer.write(b"%04d" % n)
            await asyncio.sleep(0)
        got = await soon(client.reader.readexactly(200))
        took = time.monotonic() - began
    assert got == b"".join(b"%04d" % n for n in range(50))
    ways = len(directions) or 2
    assert LATE / 2 * ways <= took < LATE * 1.5 * ways + 2  # late once each way, not once a write


async def test_latency_is_gone_after_healing(proxy: FaultProxy) -> None:
    proxy.delay(60)
    await proxy.heal()
    async with connected(proxy) as client:
        assert await client.say(b"now") == b"now"


async def test_bandwidth_is_limited(proxy: FaultProxy) -> None:
    proxy.throttle(20_000, Direction.UP)
    async with connected(proxy) as client:
        began = time.monotonic()
        assert await client.say(b"x" * 20_000) == b"x" * 20_000
        assert 0.8 < time.monotonic() - began < 8


async def test_a_cut_resets_both_ends_and_new_connections_work(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    async with connected(proxy) as client:
        await client.say(b"before")
        assert await proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            await soon(client.reader.read(1))
        await soon(echo[0].ended.wait())
        assert proxy.open_connections == 0
    async with connected(proxy) as client:
        assert await client.say(b"after") == b"after"


async def test_refused_connections_are_reset_and_open_ones_go_on(proxy: FaultProxy) -> None:
    async with connected(proxy) as early:
        await early.say(b"before")
        proxy.refuse()
        assert await is_reset(proxy)
        assert await early.say(b"still") == b"still"
        assert (proxy.accepted, proxy.refused) == (2, 1)
        await proxy.heal()
        async with connected(proxy) as healed:
            assert await healed.say(b"again") == b"again"


async def test_a_black_hole_one_way_holds_what_goes_there(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    async with connected(proxy) as client:
        await client.say(b"before")
        proxy.blackhole(Direction.DOWN)
        client.writer.write(b"lost?")
        await eventually(_has(echo[0], b"beforelost?"), seconds=SECONDS, what="the server to have it")
        assert await client.hears_nothing()
        await proxy.heal()
        assert await soon(client.reader.readexactly(5)) == b"lost?"


async def test_a_black_hole_both_ways_keeps_sockets_open(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    async with connected(proxy) as client:
        await client.say(b"before")
        proxy.blackhole()
        client.writer.write(b"held")
        client.writer.write_eof()
        assert await client.hears_nothing()
        assert (bytes(echo[0].got), echo[0].ended.is_set()) == (b"before", False)
        await proxy.heal()
        assert await soon(client.reader.read()) == b"held"


async def test_a_connection_is_reset_in_the_middle_of_what_it_carries(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    async with connected(proxy) as client:
        await client.say(b"before")
        proxy.reset_after(10, Direction.UP)
        client.writer.write(b"0123456789abcdef")
        with pytest.raises(ConnectionResetError):
            await soon(_drain(client.reader))
        await soon(echo[0].ended.wait())
    assert bytes(echo[0].got) in {b"before", b"before0123456789"}  # a reset may overtake the last bytes
    await proxy.heal()
    async with connected(proxy) as client:
        assert await client.say(b"x" * 100) == b"x" * 100


async def test_an_end_comes_late(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    proxy.close_late(LATE, Direction.UP)
    async with connected(proxy) as client:
        began = time.monotonic()
        client.writer.write(b"last")
        client.writer.write_eof()
        assert await soon(client.reader.readexactly(4)) == b"last"
        assert not echo[0].ended.is_set()
        await soon(echo[0].ended.wait())
        assert time.monotonic() - began >= LATE * 0.9


async def test_a_server_that_is_away_looks_like_a_reset() -> None:
    gone = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    async with FaultProxy("127.0.0.1", port) as proxy, connected(proxy) as client:
        with pytest.raises(ConnectionResetError):
            await soon(client.reader.read(1))


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def _has(echo: Echo, data: bytes) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return bytes(echo.got) == data

    return look


def _none_open(proxy: FaultProxy) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return proxy.open_connections == 0

    return look
