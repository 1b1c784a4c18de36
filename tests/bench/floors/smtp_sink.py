"""An SMTP server that takes every mail and keeps none; NOOP answers with how many there were (RFC 5321)."""

import asyncio
import os
import signal
from typing import Any

import uvloop

_END = b"\r\n.\r\n"
_READY = b"250 OK\r\n"
_EHLO = b"250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 10485760\r\n"


class Sink(asyncio.Protocol):
    """One connection."""

    taken = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._in_data = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            pass

    def _step(self) -> bool:
        before, end, rest = self._buffer.partition(_END if self._in_data else b"\r\n")
        if not end:
            return False
        self._buffer = rest
        if self._in_data:
            Sink.taken += 1
            self._in_data = False
            self._transport.write(_READY)
        else:
            self._answer(before[:4].upper().rstrip())
        return True

    def _answer(self, verb: bytes) -> None:
        if verb == b"DATA":
            self._in_data = True
        answers = {
            b"EHLO": _EHLO,
            b"DATA": b"354 go on\r\n",
            b"NOOP": b"250 %d\r\n" % Sink.taken,
            b"QUIT": b"221 bye\r\n",
        }
        self._transport.write(answers.get(verb, _READY))
        if verb == b"QUIT":
            self._transport.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(Sink, "127.0.0.1", int(os.environ["BENCH_SMTP_PORT"]))
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve())
