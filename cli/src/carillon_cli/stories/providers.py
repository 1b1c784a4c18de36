"""What arrived at the mock providers, read over their JSON API."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx2

from carillon_cli.failures import NotReachableError

_SECONDS = 10.0
Record = dict[str, Any]


class MockProviders:
    """Mailboxes and phones. Use as an async context manager; raises `NotReachableError` when away."""

    def __init__(self, url: str, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._client = httpx2.AsyncClient(
            base_url=url, timeout=_SECONDS, trust_env=False, transport=transport
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def mails(self, to: str, *, since: str) -> list[Record]:
        """Return mail to an address that came after a moment (ISO 8601)."""
        return await self._list("/api/mail", to=to, since=since)

    async def messages(self, to: str, *, since: str) -> list[Record]:
        """Return WhatsApp messages to a number that came after a moment (ISO 8601)."""
        return await self._list("/api/whatsapp", to=to.lstrip("+"), since=since)

    async def _list(self, path: str, **params: str) -> list[Record]:
        try:
            reply = await self._client.get(path, params=params)
            reply.raise_for_status()
        except httpx2.HTTPError as error:
            raise NotReachableError(f"The mock providers do not answer at {self.url}: {error}") from error
        found: list[Record] = reply.json()["items"]
        return found


def text_of_mail(mail: Record) -> str:
    """Return everything a reader sees of a mail."""
    return "\n".join(str(mail.get(part) or "") for part in ("subject", "text", "html"))


def text_of_message(message: Record) -> str:
    """Return everything a reader sees of a WhatsApp message, parameters of a template included."""
    return f"{message.get('body') or ''}\n{message.get('template') or ''}"


def says(text: str, words: Sequence[str]) -> bool:
    """Tell whether all of the words are in the text."""
    return all(word in text for word in words)
