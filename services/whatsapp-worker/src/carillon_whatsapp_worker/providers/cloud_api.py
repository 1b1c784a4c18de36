"""Sends over Meta's WhatsApp Cloud API."""

from dataclasses import dataclass, field

from carillon_shared.delivery.http_call import ATTEMPT_SECONDS, HttpCaller
from carillon_shared.domain.outcomes import Outcome

from carillon_whatsapp_worker.message import OutgoingWhatsapp
from carillon_whatsapp_worker.providers.errors import reply_outcome


@dataclass(frozen=True, slots=True)
class CloudApiAccount:
    """Which number sends, and with which right."""

    url: str
    version: str
    phone_number_id: str
    access_token: str = field(repr=False)

    @property
    def messages_url(self) -> str:
        """Where messages are posted."""
        return f"{self.url.rstrip('/')}/{self.version}/{self.phone_number_id}/messages"


class CloudApiProvider:
    """A `carillon_shared.delivery.provider.Provider` for the WhatsApp Cloud API."""

    def __init__(
        self,
        account: CloudApiAccount,
        *,
        connections: int = 10,
        attempt_seconds: float = ATTEMPT_SECONDS,
        name: str = "cloud_api",
    ) -> None:
        self.name = name
        self._caller = HttpCaller(
            account.messages_url,
            headers={
                "Authorization": f"Bearer {account.access_token}",
                "Content-Type": "application/json",
            },
            classify=reply_outcome,
            connections=connections,
            attempt_seconds=attempt_seconds,
        )

    async def send(self, message: OutgoingWhatsapp) -> Outcome:
        """Try once. See `Provider.send`."""
        return await self._caller.post(message.body)

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._caller.aclose()
