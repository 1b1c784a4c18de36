"""A platform as it is seen from outside: over HTTP, and by what reached the mock providers."""

from abc import ABC, abstractmethod
from typing import Any

import httpx2
from support.tenant import Tenant
from support.waiting import eventually


class Seen(ABC):
    """What a test over the wire needs of a platform, however it was started."""

    __slots__ = ()

    @property
    @abstractmethod
    def api_url(self) -> str:
        """Where the API answers."""

    @property
    @abstractmethod
    def mock_url(self) -> str:
        """Where the mock providers answer."""

    @abstractmethod
    async def new_tenant(self, slug: str | None = None) -> Tenant:
        """Create a tenant with a key that may do everything."""

    async def mock(self, path: str, **params: Any) -> Any:
        """Read from the mock providers."""
        async with httpx2.AsyncClient(base_url=self.mock_url, trust_env=False) as http:
            reply = await http.get(path, params=params)
            reply.raise_for_status()
            return reply.json()

    async def mock_control(self, method: str, path: str, **options: Any) -> None:
        """Tell the mock providers how to behave."""
        async with httpx2.AsyncClient(base_url=self.mock_url, trust_env=False) as http:
            (await http.request(method, path, **options)).raise_for_status()

    async def mails_to(self, address: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many mails have come to an address (at least), and return them."""

        async def look() -> Any:
            found = (await self.mock("/api/mail", to=address, limit=1000))["items"]
            return found if len(found) >= count else None

        mails: list[dict[str, Any]] = await eventually(look, seconds=30, what=f"{count} mails to {address}")
        return mails

    async def messages_to(self, phone: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many WhatsApp messages have come to a phone (at least), and return them."""

        async def look() -> Any:
            found = (await self.mock("/api/whatsapp", to=phone, limit=1000))["items"]
            return found if len(found) >= count else None

        messages: list[dict[str, Any]] = await eventually(
            look, seconds=30, what=f"{count} messages to {phone}"
        )
        return messages
