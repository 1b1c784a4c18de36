"""Channels and events that are used only if others were not enough, over the wire."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from support.event_stream import open_stream
from support.seen import Seen
from support.tenant import Tenant

pytestmark = pytest.mark.timeout(120)

_TITLE = {"title": "{{ data.title }}", "body": ""}
_MAIL = {"subject": "{{ data.title }}", "html": "<p>{{ data.title }}</p>"}


async def _register(tenant: Tenant, name: str, **kind: Any) -> None:
    await tenant.call("PUT", f"/v1/event-types/{name}", json=kind, expect=201)
    for place, content in {"inapp/en": _TITLE, "email/en": _MAIL, "whatsapp/en": {"text": "hi"}}.items():
        if place.split("/")[0] in kind["channels"]:
            reply = await tenant.http.put(f"/v1/event-types/{name}/templates/{place}", json=content)
            assert reply.is_success, reply.text


async def _person(tenant: Tenant, **given: str) -> str:
    identifier = f"u-{uuid4().hex[:10]}"
    reply = await tenant.http.put(f"/v1/subscribers/{identifier}", json=given)
    assert reply.is_success, reply.text
    return identifier


async def test_who_has_seen_it_in_the_feed_gets_no_mail(platform: Seen, tenant: Tenant) -> None:
    mails = [f"{uuid4().hex[:10]}@example.org" for _ in range(2)]
    watchful, absent = [await _person(tenant, email=mail) for mail in mails]
    condition = {"email": {"unless": "seen", "after": "5s"}}
    await _register(tenant, "ticket.mentioned", channels=["inapp", "email"], conditions=condition)
    token = await tenant.token(watchful)
    async with open_stream(platform.api_url, token) as stream:
        await stream.next("ready")
        event = await tenant.send(
            type="ticket.mentioned", data={"title": "You"}, audience={"users": [watchful, absent]}
        )
        await stream.next("notification")
        async with httpx2.AsyncClient(
            base_url=platform.api_url, headers={"Authorization": f"Bearer {token}"}
        ) as me:
            assert (await me.post("/v1/inbox:seen-all")).is_success
    await tenant.event_is(event, delivered=2, sent=1, skipped=1)
    rows = {(row["subscriber"], row["channel"]): row for row in await tenant.deliveries(event)}
    assert rows[watchful, "email"]["reason"] == "condition_not_met"
    (received,) = await platform.mails_to(mails[1])
    assert received["subject"] == "You"


async def test_the_next_channel_has_its_turn_when_the_one_before_has_failed(
    platform: Seen, tenant: Tenant
) -> None:
    mail = f"{uuid4().hex[:10]}@example.org"
    user = await _person(tenant, email=mail, phone="+12029990003")  # a simulator that refuses
    await _register(
        tenant,
        "delivery.arrives",
        channels=["whatsapp", "email"],
        stop_on_first_success=True,
    )
    event = await tenant.send(type="delivery.arrives", data={"title": "Soon"}, audience={"users": [user]})
    await tenant.event_is(event, failed=1, sent=1)
    (received,) = await platform.mails_to(mail)
    assert received["subject"] == "Soon"
    rows = {row["channel"]: row["status"] for row in await tenant.deliveries(event)}
    assert rows["whatsapp"] in {"failed", "dead"}


async def test_an_event_that_replaces_another_changes_its_item_in_place(
    platform: Seen, tenant: Tenant
) -> None:
    mail = f"{uuid4().hex[:10]}@example.org"
    user = await _person(tenant, email=mail)
    condition = {"email": {"unless": "read", "after": "8s"}}
    await _register(tenant, "build.progress", channels=["inapp", "email"], conditions=condition)
    said = {"type": "build.progress", "audience": {"users": [user]}, "collapse_key": "build 7"}
    async with open_stream(platform.api_url, await tenant.token(user)) as stream:
        await stream.next("ready")
        first = await tenant.send(**said, data={"title": "running"})
        before = await stream.next("notification")
        second = await tenant.send(**said, data={"title": "done"}, on_conflict="replace")
        after = await stream.next("notification")
    assert after.data["item"]["id"] == before.data["item"]["id"]
    assert (after.data["item"]["title"], after.data["item"]["event_id"]) == ("done", second)
    assert after.data["counts"] == {"unread": 1, "unseen": 1, "seq": 2}
    await tenant.event_is(first, delivered=1, cancelled=1)
    await tenant.event_is(second, delivered=1, sent=1)
    (received,) = await asyncio.wait_for(platform.mails_to(mail), 30)
    assert received["subject"] == "done"
