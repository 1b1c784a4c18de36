"""An SMTP server that does at each step what a script says, right or wrong."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CLOSE = "CLOSE"
HANG = "HANG"

_REPLIES = {
    "GREETING": "220 scripted ESMTP",
    "EHLO": "250-scripted\r\n250-SMTPUTF8\r\n250 AUTH PLAIN",
    "AUTH": "235 2.7.0 welcome",
    "MAIL": "250 2.1.0 OK",
    "RCPT": "250 2.1.5 OK",
    "DATA": "354 go on",
    "MESSAGE": "250 2.0.0 OK queued as 4F1A",
    "RSET": "250 2.0.0 OK",
    "NOOP": "250 2.0.0 OK",
    "QUIT": "221 2.0.0 bye",
}


@dataclass(slots=True)
class ScriptedServer:
    """What happened so far; `script` may be changed between mails, what is in `once` happens once."""

    port: int = 0
    script: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    most_open: int = 0
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        self.most_open = max(self.most_open, len(self.writers))
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive = await self._answer("GREETING", writer)
        while alive and (line := await reader.readline()):
            verb = line.decode().split(" ")[0].strip().upper()
            self.commands.append(line.decode().strip())
            alive = await self._answer(verb, writer)
            if alive and verb == "DATA" and self._reply("DATA").startswith("354"):
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                alive = await self._answer("MESSAGE", writer)

    async def _answer(self, step: str, writer: asyncio.StreamWriter) -> bool:
        reply = self.once.pop(step, None) or self._reply(step)
        if reply == HANG:
            await asyncio.get_running_loop().create_future()
        if reply == CLOSE:
            return False
        writer.write(f"{reply}\r\n".encode())
        await writer.drain()
        return step != "QUIT"

    def _reply(self, step: str) -> str:
        return self.script.get(step) or _REPLIES.get(step, "500 5.5.2 what?")

    async def heard_recipient(self) -> bool:
        return any(command.startswith("RCPT") for command in self.commands)

    def cut_all(self) -> None:
        for writer in tuple(self.writers):
            writer.transport.abort()


@asynccontextmanager
async def scripted_smtp(
    script: Mapping[str, str] | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    made = ScriptedServer(script=dict(script or {}))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await made.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
