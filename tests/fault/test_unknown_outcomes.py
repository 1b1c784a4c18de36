"""Calls to a provider that end without an answer, with and without receipts that tell later (F04)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest
from support.faults.hastening import hasten, in_a_hurry
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually
from support.whatsapp_people import message_to, messages_on, phone, the_delivery
from support.whatsapp_webhooks import signed, status, webhook

pytestmark = pytest.mark.timeout(240)

TIMEOUT, LOST_REPLY = 4, 11


@pytest.fixture
async def platform(shared_ground: Platform) -> AsyncIterator[Platform]:
    """The platform with the usual grace for late answers; providers behave and report again afterwards."""
    if shared_ground.extra["dispatcher"]["CARILLON_DISPATCHER_UNKNOWN_GRACE"] != "60":
        shared_ground.extra["dispatcher"]["CARILLON_DISPATCHER_UNKNOWN_GRACE"] = "60"
        await shared_ground.restart("dispatcher")
    receipts = f"{shared_ground.api_url}/v1/receipts/whatsapp/-"
    yield shared_ground
    if "whatsapp-worker" not in shared_ground.processes:
        await shared_ground.start("whatsapp-worker")
    await shared_ground.mock_control("DELETE", "/control/faults")
    await shared_ground.mock_control("POST", "/control/release")
    await shared_ground.mock_control("PUT", "/control/webhook", json={"url": receipts})


@pytest.fixture
async def tenant(platform: Platform) -> Tenant:
    return await platform.new_tenant()


async def _faults(platform: Platform, *rules: dict[str, Any]) -> None:
    await platform.mock_control("PUT", "/control/faults", json=list(rules))


async def _no_receipts(platform: Platform) -> None:
    await platform.mock_control("PUT", "/control/webhook", json={"url": ""})


async def _report(platform: Platform, delivery: str, state: str, **fields: Any) -> None:
    """Report on a delivery as Meta would, in place of the mock provider."""
    body = orjson.dumps(webhook(status(delivery, state, **fields)))
    secret = platform.addresses.secrets.whatsapp_app_secret
    async with httpx2.AsyncClient(base_url=platform.api_url, timeout=30, trust_env=False) as http:
        reply = await http.post("/v1/receipts/whatsapp/-", content=body, headers=signed(body, secret=secret))
        assert reply.status_code == 200, reply.text


async def _leases_are_over(platform: Platform) -> None:
    pool = await platform.database.pool(max_size=1)

    async def none_left() -> bool:
        return bool(await pool.fetchval("SELECT count(*) = 0 FROM carillon.leases"))

    await eventually(none_left, seconds=60, what="the last lease to end")
    await pool.close()


@pytest.mark.parametrize("on_unknown", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("twin", [TIMEOUT, LOST_REPLY])
async def test_a_receipt_ends_the_doubt_without_a_second_message(
    platform: Platform, tenant: Tenant, twin: int, on_unknown: str
) -> None:
    number = phone(twin)
    event = await message_to(tenant, number, on_unknown=on_unknown)
    delivery = await the_delivery(tenant, event, "read")
    assert delivery["attempt"] == 1
    assert len(await messages_on(platform, number)) == 1


async def test_at_least_once_without_a_receipt_tries_again(platform: Platform, tenant: Tenant) -> None:
    number = phone()
    await _faults(platform, {"fault": "reset", "channel": "whatsapp", "match": number[1:], "times": 1})
    event = await message_to(tenant, number)
    async with in_a_hurry(platform):
        delivery = await the_delivery(tenant, event, "read")
    assert [one["outcome"] for one in delivery["attempts"]] == ["unknown", "sent"]
    assert len(await messages_on(platform, number)) == 1


async def test_at_most_once_without_a_receipt_waits_for_a_person(platform: Platform, tenant: Tenant) -> None:
    number = phone()
    await _faults(platform, {"fault": "reset", "channel": "whatsapp", "match": number[1:], "times": 1})
    event = await message_to(tenant, number, on_unknown="at_most_once")
    async with in_a_hurry(platform):
        delivery = await the_delivery(tenant, event, "dead")
    assert (delivery["reason"], delivery["attempt"]) == ("outcome_unknown", 1)
    assert await messages_on(platform, number) == []


async def test_a_receipt_after_it_was_given_up_takes_the_dead_letter_away(
    platform: Platform, tenant: Tenant
) -> None:
    number = phone()
    await _no_receipts(platform)
    await _faults(platform, {"fault": "lost_reply", "channel": "whatsapp", "match": number[1:]})
    event = await message_to(tenant, number, on_unknown="at_most_once")
    async with in_a_hurry(platform):
        delivery = await the_delivery(tenant, event, "dead")
    await _report(platform, delivery["id"], "delivered")
    await the_delivery(tenant, event, "delivered")
    letters = await tenant.call("GET", "/v1/admin/dead-letters")
    assert letters["data"] == []
    assert len(await messages_on(platform, number)) == 1


async def test_a_receipt_after_the_retry_was_published_stops_it(platform: Platform, tenant: Tenant) -> None:
    number = phone()
    await _no_receipts(platform)
    await _faults(platform, {"fault": "lost_reply", "channel": "whatsapp", "match": number[1:], "times": 1})
    event = await message_to(tenant, number)
    delivery = await the_delivery(tenant, event, "unknown")
    await platform.stop("whatsapp-worker")  # the retry has to wait in its queue
    async with in_a_hurry(platform):
        await the_delivery(tenant, event, "retrying")
    await _report(platform, delivery["id"], "delivered")
    await platform.start("whatsapp-worker")
    later = phone()
    await the_delivery(tenant, await message_to(tenant, later), "sent")  # it came behind the retry
    assert len(await messages_on(platform, number)) == 1
    (found,) = await tenant.deliveries(event)
    assert (found["status"], found["attempt"]) == ("delivered", 1)


async def _killed_after_sending(platform: Platform, tenant: Tenant, number: str) -> tuple[str, str]:
    """Kill the worker while the provider has its message and has not answered; return the ids of both."""
    await _faults(platform, {"fault": "hold", "channel": "whatsapp", "match": number[1:], "keep": True})
    event = await message_to(tenant, number)
    (message,) = await platform.messages_to(number[1:])
    await platform.kill("whatsapp-worker")
    await platform.mock_control("DELETE", "/control/faults")
    await platform.mock_control("POST", "/control/release")
    return event, message["id"]


async def test_what_a_killed_worker_had_sent_ends_as_the_receipts_say(
    platform: Platform, tenant: Tenant
) -> None:
    number = phone()
    event, _ = await _killed_after_sending(platform, tenant, number)
    delivery = await the_delivery(tenant, event, "read")
    assert [(one["number"], one["outcome"]) for one in delivery["attempts"]] == [(1, "sent")]
    await hasten(platform, "whatsapp-worker")
    await platform.start("whatsapp-worker")
    await _leases_are_over(platform)
    (delivery,) = await tenant.deliveries(event)
    assert (delivery["status"], delivery["attempt"]) == ("read", 1)
    assert len(await messages_on(platform, number)) == 1


async def test_what_a_killed_worker_had_sent_in_vain_fails_as_the_receipt_says(
    platform: Platform, tenant: Tenant
) -> None:
    number = phone()
    await _no_receipts(platform)
    event, message = await _killed_after_sending(platform, tenant, number)
    (delivery,) = await tenant.deliveries(event)
    error = {"code": 131026, "title": "Message undeliverable"}
    await _report(platform, delivery["id"], "failed", id=message, errors=[error])
    (delivery,) = await tenant.deliveries(event)
    assert delivery["status"] == "sending"  # the lease still runs, so the failure has to wait
    await hasten(platform, "whatsapp-worker")
    await platform.start("whatsapp-worker")
    delivery = await the_delivery(tenant, event, "failed")
    assert (delivery["reason"], delivery["attempt"]) == ("invalid_address", 1)
    assert len(await messages_on(platform, number)) == 1
