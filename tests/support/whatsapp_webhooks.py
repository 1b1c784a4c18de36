"""Status webhooks as Meta posts them."""

import hashlib
import hmac
from typing import Any
from uuid import UUID

import httpx2
import orjson

APP_SECRET = "the app's secret"
VERIFY_TOKEN = "the verify token"
PATH = "/v1/receipts/whatsapp/acme"


def status(delivery: UUID | str | None, state: str, **fields: Any) -> dict[str, Any]:
    """Return one status of a message; `fields` replace or add to the usual ones, and None leaves one out."""
    told = {
        "id": "wamid.1",
        "status": state,
        "timestamp": "1763784000",
        "recipient_id": "12025550001",
        "conversation": {"id": "c", "origin": {"type": "utility"}},
        "biz_opaque_callback_data": None if delivery is None else str(delivery),
    } | fields
    return {name: value for name, value in told.items() if value is not None}


def webhook(*statuses: Any) -> dict[str, Any]:
    """Return a webhook with these statuses, each in a change of its own."""
    changes = [
        {"field": "messages", "value": {"messaging_product": "whatsapp", "statuses": [one]}}
        for one in statuses
    ]
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}


def signed(body: bytes, *, secret: str = APP_SECRET) -> dict[str, str]:
    """Return the header that proves who sent this body."""
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


async def post(http: httpx2.AsyncClient, document: Any, *, path: str = PATH) -> httpx2.Response:
    """Post a webhook with its signature."""
    body = orjson.dumps(document)
    return await http.post(path, content=body, headers=signed(body))
