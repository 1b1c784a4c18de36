"""Webhook endpoints, what is posted to them, and the receiver that a test looks into."""

import base64
import hashlib
import hmac
from typing import Any
from uuid import UUID

from carillon_dispatcher.sweepers.outcomes import OutcomeRelay
from carillon_dispatcher.webhooks.sending import Posting, WebhookSender
from carillon_dispatcher.webhooks.store import WebhookStore
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.events_api import Producer
from support.planning import RecordingPublisher
from support.scripted_http import Asked, ScriptedServer
from support.world import World

ENDPOINTS = "/v1/webhook-endpoints"


def make_sender(dispatcher: Pool, client: Posting) -> WebhookSender:
    """Return a sender as a dispatcher has one."""
    return WebhookSender(WebhookStore(dispatcher, disable_days=5), client, seconds=5, interval=0.05)


async def make_endpoint(producer: Producer, receiver: ScriptedServer, **fields: Any) -> dict[str, Any]:
    """Have the receiver posted to; returns the endpoint with its secret."""
    body = {"url": f"{receiver.url}/hook"} | fields
    made = await producer.call("POST", ENDPOINTS, json=body)
    assert made.status_code == 201, made.text
    endpoint: dict[str, Any] = made.json()
    return endpoint


async def make_outcome(
    world: World, dispatcher: Pool, status: str = "sent", channel: Channel = Channel.EMAIL
) -> UUID:
    """Let an event's deliveries come to a state, and hand that on; returns the event."""
    event = await world.add_event(channels=[channel])
    ids = await world.add_deliveries(event, world.people, channel)
    await world.pool.execute(
        """UPDATE carillon.deliveries
        SET status = $2::text::carillon.delivery_status, reason = 'retries_exhausted' WHERE id = ANY ($1)""",
        ids,
        status,
    )
    await OutcomeRelay(dispatcher, RecordingPublisher(), batch=100).relay()
    return event


async def post_due(sender: WebhookSender) -> int:
    """Post what is due, and return how many messages that were."""
    begun = await sender.begin()
    await sender.idle()
    return begun


async def messages_to(producer: Producer, endpoint: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    """Return what was, is or will be posted to an endpoint."""
    page = await producer.get(f"{ENDPOINTS}/{endpoint['id']}/messages", params=params)
    assert page.status_code == 200, page.text
    rows: list[dict[str, Any]] = page.json()["data"]
    return rows


async def shown_endpoint(producer: Producer, endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return an endpoint as the API shows it."""
    shown: dict[str, Any] = (await producer.get(f"{ENDPOINTS}/{endpoint['id']}")).json()
    return shown


def is_signed(asked: Asked, secret: str) -> bool:
    """Tell whether a post carries a signature with this secret, as a receiver does."""
    signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + asked.content
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in asked.headers["webhook-signature"].split(" ")
