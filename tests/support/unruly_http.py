"""A real HTTP server that behaves as badly as a test says: one behaviour for each request, in turn."""

import json
import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Conversation"], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One connection, with the request that came over it."""

    connection: socket.socket
    heard: Heard
    stopping: threading.Event


@dataclass(slots=True)
class UnrulyServer:
    """What it was asked, and what it will do next. The last behaviour is repeated."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    plan: deque[Behaviour] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def will(self, *behaviours: Behaviour) -> None:
        """Do these, one for each request."""
        self.plan = deque(behaviours)

    def next(self, heard: Heard) -> Behaviour:
        """Note a request and return what happens to it."""
        with self.lock:
            self.heard.append(heard)
            return self.plan.popleft() if len(self.plan) > 1 else self.plan[0]


def says(status: int, body: Any, **headers: str) -> Behaviour:
    """Answer with JSON, and close."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda talk: talk.connection.sendall(_head(status, len(content), headers) + content)


def accepts(*, duplicate: bool = False) -> Behaviour:
    """Answer as the service does: to one event, or to an array of them."""

    def answer(talk: Conversation) -> None:
        said = talk.heard.json
        one = {
            "id": "0198c7a2-0000-7000-8000-000000000001",
            "status": "accepted",
            "duplicate": duplicate,
        }
        many = {"data": [{"index": place, **one} for place in range(len(said))]}
        says(202, many if isinstance(said, list) else one)(talk)

    return answer


def half_an_answer(talk: Conversation) -> None:
    """Announce more than is sent."""
    talk.connection.sendall(_head(202, 500, {}) + b'{"id": "0198c7a2')


def resets(talk: Conversation) -> None:
    """End the connection with RST instead of an answer."""
    talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def never_answers(talk: Conversation) -> None:
    """Hold the connection until the server stops or the client leaves."""
    talk.connection.settimeout(0.05)
    while not talk.stopping.is_set():
        try:
            if not talk.connection.recv(1):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def drips(talk: Conversation) -> None:
    """Send a byte now and then, so that no single read takes long."""
    talk.connection.sendall(_head(202, 10_000, {}))
    while not talk.stopping.wait(0.02):
        try:
            talk.connection.sendall(b" ")
        except OSError:
            return


def streams(*pieces: bytes, cut: bool = False) -> Behaviour:
    """Send pieces of an event stream, then end it: in order, or in the middle (`cut`)."""

    def answer(talk: Conversation) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        talk.connection.sendall(head + chunks + (b"" if cut else b"0\r\n\r\n"))

    return answer


@contextmanager
def unruly_server() -> Iterator[UnrulyServer]:
    """Serve until the block ends."""
    stopping = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            heard = _read(self.rfile)
            if heard is not None:
                script.next(heard)(Conversation(self.connection, heard, stopping))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = False

    with Server(("127.0.0.1", 0), Handler) as server:
        script = UnrulyServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield script
        finally:
            stopping.set()
            server.shutdown()
            thread.join()


def _head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    kind = "application/json" if status < 400 else "application/problem+json"
    lines = [
        f"HTTP/1.1 {status} X",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        "Connection: close",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _read(stream: Any) -> Heard | None:
    first = stream.readline().decode().split()
    if not first:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Heard(first[0], first[1], headers, body)
