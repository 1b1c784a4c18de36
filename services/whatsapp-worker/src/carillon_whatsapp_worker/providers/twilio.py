"""Sends WhatsApp messages over Twilio's Messages resource.

Source: Twilio's page "Message resource" (`POST /2010-04-01/Accounts/{sid}/Messages.json`).
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from carillon_shared.delivery.http_call import ATTEMPT_SECONDS, HttpCaller
from carillon_shared.domain.outcomes import Outcome, Rejected
from carillon_shared.domain.states import Reason

from carillon_whatsapp_worker.message import OutgoingWhatsapp
from carillon_whatsapp_worker.providers.twilio_errors import reply_outcome

_CONTENT_SID: Final = "HX"


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """Which number sends, with which right, and what Meta's templates are called at Twilio."""

    url: str
    account_sid: str
    sender: str  # E.164, a WhatsApp sender of the account
    auth_token: str = field(repr=False)
    contents: Mapping[str, str] = field(default_factory=dict)  # content sid by template name or name/language

    @property
    def messages_url(self) -> str:
        """Where messages are posted."""
        return f"{self.url.rstrip('/')}/2010-04-01/Accounts/{self.account_sid}/Messages.json"

    def content_of(self, name: str, language: str) -> str | None:
        """Return the content sid of a template; a name may be one itself."""
        if name.startswith(_CONTENT_SID):
            return name
        return self.contents.get(f"{name}/{language}") or self.contents.get(name)


class TwilioProvider:
    """A `carillon_shared.delivery.provider.Provider` for WhatsApp through Twilio."""

    def __init__(
        self,
        account: TwilioAccount,
        *,
        connections: int = 10,
        attempt_seconds: float = ATTEMPT_SECONDS,
        name: str = "twilio",
    ) -> None:
        self.name = name
        self._account = account
        credentials = b64encode(f"{account.account_sid}:{account.auth_token}".encode()).decode()
        self._caller = HttpCaller(
            account.messages_url,
            headers={
                "Authorization": f"Basic {credentials}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            classify=reply_outcome,
            connections=connections,
            attempt_seconds=attempt_seconds,
        )

    async def send(self, message: OutgoingWhatsapp) -> Outcome:
        """Try once. See `Provider.send`."""
        said = self._said(orjson.loads(message.body))
        if isinstance(said, Rejected):
            return said
        addressed = {"To": f"whatsapp:{message.recipient}", "From": f"whatsapp:{self._account.sender}"}
        return await self._caller.post(urlencode(addressed | said).encode())

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._caller.aclose()

    def _said(self, request: Mapping[str, Any]) -> dict[str, str] | Rejected:
        """Return what a Cloud API request says, in Twilio's parameters."""
        if request.get("type") == "text":
            return {"Body": request["text"]["body"]}
        if request.get("type") != "template":
            return Rejected("twilio_type", "only texts and templates are sent over Twilio")
        template = request["template"]
        name, language = template["name"], template["language"]["code"]
        content = self._account.content_of(name, language)
        if content is None:
            detail = f"no content of Twilio is given for the template {name}/{language}"
            return Rejected("twilio_content", detail, Reason.TEMPLATE_MISSING)
        return {"ContentSid": content, "ContentVariables": _variables(template)}


def _variables(template: Mapping[str, Any]) -> str:
    """Number the parameters of the body from 1."""
    bodies = [part for part in template.get("components", ()) if part["type"] == "body"]
    texts = [parameter["text"] for part in bodies for parameter in part["parameters"]]
    return orjson.dumps({str(place): text for place, text in enumerate(texts, start=1)}).decode()
