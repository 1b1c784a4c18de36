"""The HTTP server: uvicorn, whose connections can be cut and whose signals belong to the process."""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from carillon_mock_providers.connections import answer_and_close, reset_connection

_KEEP_ALIVE_SECONDS = 75  # longer than any client's own limit, as providers do it
_GRACE_SECONDS = 1


class HttpConnections:
    """The open HTTP connections by the client's address."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.BaseTransport] = {}

    def reset(self, connection: HTTPConnection) -> None:
        """Cuts the connection a request came over."""
        if (transport := self._transport(connection)) is not None:
            reset_connection(transport)

    def answer_raw(self, connection: HTTPConnection, answer: bytes) -> None:
        """Answers with these bytes past the HTTP server, and ends the connection."""
        if (transport := self._transport(connection)) is not None:
            answer_and_close(transport, answer)

    def _transport(self, connection: HTTPConnection) -> asyncio.BaseTransport | None:
        client = connection.client
        return self._open.get((client.host, client.port)) if client is not None else None

    def close_all(self) -> None:
        """Cuts every connection."""
        for transport in tuple(self._open.values()):
            transport.close()

    def protocol(self) -> type[HttpToolsProtocol]:
        """Uvicorn's protocol, noting its connections here."""
        known = self._open

        class TrackedProtocol(HttpToolsProtocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
                super().connection_made(transport)
                if self.client is not None:
                    known[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    known.pop(self.client, None)
                super().connection_lost(exc)

        return TrackedProtocol


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves signals to the process, which ends both servers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says when requests are answered."""
        await super().startup(sockets)
        self.listening.set()


class HttpServer:
    """Serves an application until stopped."""

    def __init__(self, app: FastAPI, connections: HttpConnections) -> None:
        self._connections = connections
        self._server = _Server(
            uvicorn.Config(
                app,
                http=connections.protocol(),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._task: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, *, host: str, port: int) -> None:
        """Listens; raises OSError when the address is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Stops listening, cuts every connection and returns when all is closed."""
        self._server.should_exit = True
        self._connections.close_all()
        if self._task is not None:
            await self._task
