"""SMTP connections, kept open and used one mail at a time."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from aiosmtplib import SMTP, SMTPException

MAX_IDLE_SECONDS: Final = 60.0
"""Servers end idle connections after some minutes; ending them first saves finding out."""

MAX_MAILS: Final = 100
"""Mails over one connection; some servers refuse more."""

_QUIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SmtpServerAddress:
    """Where to connect, and how."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "none"  # none, starttls, tls
    tls_context: ssl.SSLContext | None = None  # None: the system's certificates


@dataclass(slots=True)
class SmtpConnection:
    """An open connection, after TLS and authentication."""

    client: SMTP
    idle_since: float
    mails: int = 0
    reusable: bool = False  # set when the last mail ended with the connection in order
    half_done: bool = False  # the last mail was refused on the way: RSET before the next


class SmtpConnections:
    """At most `limit` connections; the one used last is used next, so a quiet worker keeps few."""

    def __init__(self, server: SmtpServerAddress, *, limit: int) -> None:
        self._server = server
        self._free = asyncio.Semaphore(limit)
        self._idle: list[SmtpConnection] = []
        self._closed = False

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for the right to use one connection."""
        async with self._free:
            yield

    @asynccontextmanager
    async def connection(self, *, fresh: bool) -> AsyncIterator[SmtpConnection]:
        """Lend a connection; not marked reusable afterwards, it is cut. Raises what connecting raises."""
        used = None if fresh else self._take()
        lent = used or await self._connect()
        lent.reusable = False
        try:
            yield lent
        finally:
            self._give_back(lent)

    async def aclose(self) -> None:
        """Say goodbye on every idle connection."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(kept.client) for kept in idle))

    def _take(self) -> SmtpConnection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            kept = self._idle.pop()
            if kept.client.is_connected and now - kept.idle_since < MAX_IDLE_SECONDS:
                return kept
            kept.client.close()
        return None

    def _give_back(self, lent: SmtpConnection) -> None:
        lent.mails += 1
        lent.idle_since = asyncio.get_running_loop().time()
        if lent.reusable and not self._closed and lent.mails < MAX_MAILS and lent.client.is_connected:
            self._idle.append(lent)
        else:
            lent.client.close()

    async def _connect(self) -> SmtpConnection:
        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            tls_context=server.tls_context,
            timeout=None,  # the attempt has one limit for all of it
        )
        await client.connect()
        return SmtpConnection(client, asyncio.get_running_loop().time())


async def _quit(client: SMTP) -> None:
    with suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_QUIT_SECONDS):
            await client.quit()
    client.close()
