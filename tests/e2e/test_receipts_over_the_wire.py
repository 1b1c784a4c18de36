"""What WhatsApp reports later, from the provider's webhook to the delivery's state."""

from typing import Any
from uuid import uuid4

import pytest
from support.seen import Seen
from support.tenant import Tenant
from support.waiting import eventually
from support.whatsapp_people import message_to, messages_on, phone, the_delivery

pytestmark = pytest.mark.timeout(120)

DUPLICATE, OUT_OF_ORDER, READ_ONLY, EARLY_STATUS = 8, 13, 14, 15
BOUNCE, LOST_REPLY = 1, 11


@pytest.mark.parametrize("twin", [None, DUPLICATE, OUT_OF_ORDER, READ_ONLY, EARLY_STATUS])
async def test_a_message_that_was_read_is_shown_as_read(
    platform: Seen, tenant: Tenant, twin: int | None
) -> None:
    number = phone(twin)
    event = await message_to(tenant, number)
    delivery = await the_delivery(tenant, event, "read")
    (message,) = await messages_on(platform, number)
    assert delivery["provider_id"] == message["id"]
    assert [(one["number"], one["outcome"]) for one in delivery["attempts"]] == [(1, "sent")]

    async def all_told() -> bool:
        wanted = {"sent", "read"} if twin == READ_ONLY else {"sent", "delivered", "read"}
        (found,) = await tenant.deliveries(event)
        return {one["state"] for one in found["receipts"]} == wanted and found["status"] == "read"

    await eventually(all_told, seconds=30, what="every status to have come")
    (delivery,) = await tenant.deliveries(event)
    told = [one["state"] for one in delivery["receipts"]]
    assert len(told) == len(set(told))


async def test_a_message_that_comes_back_is_shown_as_failed(platform: Seen, tenant: Tenant) -> None:
    number = phone(BOUNCE)
    event = await message_to(tenant, number)
    delivery = await the_delivery(tenant, event, "failed")
    assert delivery["reason"] == "invalid_address"
    assert delivery["attempts"][0]["outcome"] == "sent"
    failed = next(one for one in delivery["receipts"] if one["state"] == "failed")
    assert (failed["code"], delivery["next_attempt_at"]) == ("whatsapp_131026", None)
    assert len(await messages_on(platform, number)) == 1


@pytest.mark.parametrize("on_unknown", ["at_least_once", "at_most_once"])
async def test_a_lost_reply_ends_as_the_receipts_say_and_nobody_gets_two(
    platform: Seen, tenant: Tenant, on_unknown: str
) -> None:
    number = phone(LOST_REPLY)
    event = await message_to(tenant, number, on_unknown=on_unknown)
    delivery = await the_delivery(tenant, event, "read")
    assert (delivery["attempt"], delivery["reason"]) == (1, None)
    assert len(await messages_on(platform, number)) == 1
    done = await eventually(lambda: _completed(tenant, event), seconds=30, what="the event to be completed")
    assert done


async def test_mail_that_comes_back_fails_and_the_next_is_not_sent(tenant: Tenant) -> None:
    person = {"id": "b", "email": f"bounce+{uuid4().hex}@example.org"}
    mail: dict[str, Any] = {
        "type": "message",
        "data": {"title": "Hi", "body": "there"},
        "channels": ["email"],
    }
    mail["audience"] = {"users": [person]}
    delivery = await the_delivery(tenant, await tenant.send(**mail), "failed")
    assert delivery["reason"] == "invalid_address"
    (receipt,) = delivery["receipts"]
    assert (receipt["code"], delivery["attempts"][0]["outcome"]) == ("bounce_5.1.1", "sent")
    after = await the_delivery(tenant, await tenant.send(**mail), "skipped")
    assert after["reason"] == "suppressed"


async def _completed(tenant: Tenant, event: str) -> bool:
    return bool((await tenant.call("GET", f"/v1/events/{event}"))["status"] == "completed")
