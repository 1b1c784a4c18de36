"""Streams read with curl, which speaks HTTP/2 as a browser does."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from carillon_local.processes import leash
from support.proxies import Proxy
from support.sse import SECONDS, Frame

Version = Literal["1.1", "2"]


@dataclass(slots=True)
class CurlStream:
    """An answer as curl shows it while it arrives."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    version: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    async def next(self, *, pings: bool = False, seconds: float = SECONDS) -> Frame:
        """Return the next frame that is no ping. Raises ``EOFError`` when the answer is complete."""
        async with asyncio.timeout(seconds):
            while True:
                frame = _frame((await self._block(b"\n\n")).decode())
                if pings or not frame.text.startswith(":"):
                    return frame

    async def until_end(self, *, seconds: float = SECONDS) -> list[Frame]:
        """Return every frame up to the clean end. Raises ``AssertionError`` when curl saw no clean one."""
        frames = []
        try:
            while True:
                frames.append(await self.next(seconds=seconds))
        except EOFError:
            assert await self.process.wait() == 0  # curl's other codes: cut off, not just over
            return frames

    async def read_head(self) -> None:
        """Read the status and the headers."""
        async with asyncio.timeout(SECONDS):
            lines = (await self._block(b"\r\n\r\n")).decode().strip().split("\r\n")
        self.version, status = lines[0].split(" ")[:2]
        self.status = int(status)
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}

    async def _block(self, end: bytes) -> bytes:
        try:
            return await self.output.readuntil(end)
        except asyncio.IncompleteReadError as error:
            raise EOFError(error.partial) from None


def _frame(text: str) -> Frame:
    lines = text.strip().split("\n")
    fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
    data = json.loads(fields["data"]) if "data" in fields else None
    return Frame(fields.get("event"), fields.get("id"), data, text.strip())


@asynccontextmanager
async def curl_stream(
    proxy: Proxy, *, token: str, version: Version = "2", last_event_id: str | None = None, path: str = ""
) -> AsyncIterator[CurlStream]:
    """Open a person's stream through a proxy, whatever the answer."""
    command = [
        "curl",
        "--silent",
        "--no-buffer",
        "--include",
        f"--http{version}",
        "--cacert",
        str(proxy.certificate),
    ]
    command += ["--header", f"Authorization: Bearer {token}", "--header", "Accept: text/event-stream"]
    command += ["--header", f"Last-Event-ID: {last_event_id}"] if last_event_id is not None else []
    process = await asyncio.create_subprocess_exec(
        *command,
        f"{proxy.url}/v1/inbox/stream{path}",
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=leash(signal.SIGKILL),
    )
    assert process.stdout is not None
    stream = CurlStream(process, process.stdout)
    try:
        await stream.read_head()
        yield stream
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
