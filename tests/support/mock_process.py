"""The mock providers as a real process, and people who talk to it, for tests."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import aiosmtplib
import httpx2

START_SECONDS = 20.0
TOKEN = "mock-whatsapp-token"


@dataclass(frozen=True, slots=True)
class MockProcess:
    """A running process and a client for its HTTP side."""

    process: asyncio.subprocess.Process
    http: httpx2.AsyncClient
    url: str
    smtp_port: int

    async def get(self, path: str, **params: Any) -> Any:
        reply = await self.http.get(path, params=params)
        reply.raise_for_status()
        return reply.json()

    async def state(self) -> Any:
        return await self.get("/control/state")

    async def rules(self, *rules: dict[str, Any], seed: int = 0) -> None:
        reply = await self.http.put("/control/faults", params={"seed": seed}, json=list(rules))
        reply.raise_for_status()

    async def send_mail(self, to: str | list[str], *, subject: str = "Hello", timeout: float = 5.0) -> str:  # noqa: ASYNC109 -- the SMTP client's own
        recipients = [to] if isinstance(to, str) else to
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.smtp_port, timeout=timeout, use_tls=False, start_tls=False
        )
        await client.connect()
        try:
            _, reply = await client.sendmail("from@shop.example", recipients, mail(recipients[0], subject))
        finally:
            client.close()
        return reply

    async def send_whatsapp(self, to: str, **changes: Any) -> httpx2.Response:
        body = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": to,
            "type": "text",
            "text": {"body": "Баярлалаа"},
        } | changes
        return await self.http.post(
            "/v23.0/1055/messages", json=body, headers={"Authorization": f"Bearer {TOKEN}"}
        )

    async def stop(self) -> tuple[int, float, bytes]:
        """The exit code, the seconds it took, and what was left to read of its output."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        rest, errors = await asyncio.wait_for(self.process.communicate(), 10)
        return self.process.returncode or 0, time.monotonic() - began, rest + errors


def mail(to: str, subject: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Дэлгүүр <from@shop.example>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{abs(hash((to, subject)))}@shop.example>"
    message.set_content("Баярлалаа?\n.a line with a dot\n")
    message.add_alternative("<p>Баярлалаа?</p>", subtype="html")
    message.set_boundary("the-boundary")
    return message.as_bytes()


@asynccontextmanager
async def mock_process(**settings: object) -> AsyncIterator[MockProcess]:
    """Start `python -m carillon_mock_providers` on free ports; settings are names without the prefix."""
    given = {"http_port": 0, "smtp_port": 0} | settings
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CARILLON_MOCK_")}
    environment |= {f"CARILLON_MOCK_{name.upper()}": str(value) for name, value in given.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "carillon_mock_providers",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = json.loads(await asyncio.wait_for(process.stdout.readline(), START_SECONDS))
        url = f"http://127.0.0.1:{line['http_port']}"
        async with httpx2.AsyncClient(base_url=url, timeout=5, trust_env=False) as http:
            yield MockProcess(process, http, url, line["smtp_port"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
