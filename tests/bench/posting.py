"""POSTs over kept connections, at a rate of our own or as fast as they are answered."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench.contender import ContenderError

_ANSWER_SECONDS = 30.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"

MakeBody = Callable[[int, int], bytes]
"""Makes the body of a request out of its number and the time it is sent at (monotonic nanoseconds)."""


@dataclass(frozen=True, slots=True)
class Posted:
    """So many requests were sent and answered, the first and the last at these times."""

    count: int
    first: int
    last: int


class Poster:
    """Connections to one path of a server on this machine. Use `open_poster`."""

    def __init__(self, head: str) -> None:
        self._head = head
        self.idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def post(self, body: bytes) -> None:
        """Send one request when a connection is idle. Raises `ContenderError` unless it is accepted."""
        connection = await self.idle.get()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                status, answer = await self._exchange(*connection, body)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise ContenderError(f"a request was not answered: {error!r}") from error
        self.idle.put_nowait(connection)
        if status // 100 != 2:
            raise ContenderError(f"a request was answered with {status}: {answer[:300]!r}")

    async def steadily(self, make: MakeBody, *, rate: float, seconds: float) -> Posted:
        """Send so many a second, whether or not the ones before are answered yet."""
        count, start = max(int(rate * seconds), 1), time.monotonic()
        sent: list[int] = []
        requests: list[asyncio.Task[None]] = []
        for number in range(count):
            await asyncio.sleep(max(start + number / rate - time.monotonic(), 0))
            sent.append(time.monotonic_ns())  # waiting for a connection counts
            requests.append(asyncio.create_task(self.post(make(number, sent[-1]))))
        await asyncio.gather(*requests)
        return Posted(count, sent[0], sent[-1])

    async def at_once(self, make: MakeBody, *, count: int) -> Posted:
        """Send as many, as fast as connections become idle."""
        first = time.monotonic_ns()
        await asyncio.gather(*(self.post(make(number, first)) for number in range(count)))
        return Posted(count, first, first)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> tuple[int, bytes]:
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await reader.readuntil(_HEAD_END)
        return int(head.split(b" ", 2)[1]), await reader.readexactly(_length(head))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(_LENGTH):
            return int(line.removeprefix(_LENGTH))
    raise ContenderError(f"an answer without a length: {head[:300]!r}")


@asynccontextmanager
async def open_poster(
    port: int, path: str, *, headers: Sequence[str] = (), connections: int = 1
) -> AsyncIterator[Poster]:
    """Connect so many times; the connections are closed at the end of the block."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", *headers]
    poster = Poster("".join(f"{line}\r\n" for line in lines))
    async with AsyncExitStack() as stack:
        for _ in range(connections):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            poster.idle.put_nowait((reader, writer))
        yield poster
