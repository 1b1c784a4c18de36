"""The six stories, over the wire: HTTP in; SMTP, the Cloud API and SSE out."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from support.event_stream import open_stream
from support.seen import Seen
from support.tenant import Tenant

pytestmark = pytest.mark.timeout(120)


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:10]}"


def phone() -> str:
    return f"+97688{uuid4().int % 10**6:06d}"


async def register(tenant: Tenant, name: str, templates: dict[str, dict[str, Any]], **kind: Any) -> None:
    await tenant.call("PUT", f"/v1/event-types/{name}", json=kind, expect=201)
    for place, content in templates.items():
        reply = await tenant.http.put(f"/v1/event-types/{name}/templates/{place}", json=content)
        assert reply.is_success, reply.text


async def person(tenant: Tenant, **given: Any) -> str:
    identifier = unique("u")
    reply = await tenant.http.put(f"/v1/subscribers/{identifier}", json=given)
    assert reply.is_success, reply.text
    return identifier


async def test_help_desk_tells_the_owner_and_the_watchers_but_not_the_author(
    platform: Seen, tenant: Tenant
) -> None:
    mail = f"{unique('owner')}@example.org"
    owner = await person(tenant, email=mail, attributes={"name": "Bat"})
    watcher, author = await person(tenant), await person(tenant)
    await register(
        tenant,
        "ticket.status_changed",
        {
            "email/en": {
                "subject": "Ticket {{ data.ticket_id }} is {{ data.new_status }}",
                "html": "<p>Hi {{ subscriber.attributes.name }}, it was {{ data.old_status }}.</p>",
            },
            "inapp/en": {"title": "Ticket {{ data.ticket_id }}", "body": "Now {{ data.new_status }}"},
        },
        category="tickets",
        channels=["inapp", "email"],
        audience={"users": ["{{ data.owner }}"]},
    )
    await register(
        tenant,
        "ticket.note_added",
        {"inapp/en": {"title": "New note on {{ data.ticket_id }}", "body": "{{ data.text }}"}},
        category="tickets",
        channels=["inapp"],
        audience={"topics": ["ticket:{{ data.ticket_id }}"]},
    )
    for member in (watcher, author):
        reply = await tenant.http.put(f"/v1/topics/ticket:42/subscribers/{member}")
        assert reply.is_success, reply.text

    async with open_stream(platform.api_url, await tenant.token(owner)) as stream:
        ready = await stream.next("ready")
        assert ready.data["counts"] == {"unread": 0, "unseen": 0, "seq": 0}
        changed = await tenant.send(
            type="ticket.status_changed",
            source="/helpdesk",
            id="chg-9131",
            data={"ticket_id": 42, "old_status": "open", "new_status": "solved", "owner": owner},
        )
        shown = await stream.next("notification")
    assert shown.id == "1"
    assert shown.data["item"]["title"] == "Ticket 42"
    assert shown.data["counts"] == {"unread": 1, "unseen": 1, "seq": 1}
    (received,) = await platform.mails_to(mail)
    assert received["subject"] == "Ticket 42 is solved"
    assert "Hi Bat, it was open." in received["html"]
    assert "Hi Bat, it was open." in received["text"]
    done = await tenant.event_is(changed, delivered=1, sent=1)
    assert done["progress"]["total"] == 2

    noted = await tenant.send(type="ticket.note_added", data={"ticket_id": 42, "text": "look"}, actor=author)
    await tenant.event_is(noted, delivered=1, skipped=1)
    by_person = {row["subscriber"]: row for row in await tenant.deliveries(noted)}
    assert by_person[watcher]["status"] == "delivered"
    assert (by_person[author]["status"], by_person[author]["reason"]) == ("skipped", "actor")


async def test_sign_in_mail_in_mongolian_and_the_eleventh_is_refused(platform: Seen, tenant: Tenant) -> None:
    mail = f"{unique('bat')}@example.org"
    user = await person(tenant, email=mail, locale="mn-MN", time_zone="Asia/Ulaanbaatar")
    await register(
        tenant,
        "auth.signed_in",
        {
            "email/en": {"subject": "New sign-in", "html": "<p>{{ data.ip }}</p>"},
            "email/mn": {
                "subject": "Шинэ нэвтрэлт",
                "html": "<p>IP: {{ data.ip }}, {{ data.browser }}, {{ data.at | datetime }}, "
                "{{ data.provider }}. Хэрэв та биш бол нууц үгээ солино уу.</p>",
            },
        },
        category="security",
        channels=["email"],
        mandatory=True,
        priority="critical",
        audience={"users": ["{{ data.user }}"]},
        throttle={"limit": 10, "per": "1h", "channels": ["email"], "on_exceed": "reject"},
    )
    data = {
        "user": user,
        "ip": "203.0.113.7",
        "browser": "Firefox",
        "provider": "google",
        "at": "2026-11-21T10:00:00Z",
    }
    first = await tenant.send(type="auth.signed_in", data=data)
    (received,) = await platform.mails_to(mail)
    assert received["subject"] == "Шинэ нэвтрэлт"
    assert "203.0.113.7" in received["html"]
    assert "18:00" in received["html"]  # ten in the morning UTC, as Ulaanbaatar's clocks show it
    assert "нууц үгээ" in received["text"]
    await tenant.event_is(first, sent=1)
    for _ in range(9):
        await tenant.send(type="auth.signed_in", data=data)
    refused = await tenant.http.post("/v1/events", json={"type": "auth.signed_in", "data": data})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert len(await platform.mails_to(mail, count=10)) == 10


async def test_the_eleventh_is_held_where_the_type_says_so(tenant: Tenant) -> None:
    user = await person(tenant, email=f"{unique('held')}@example.org")
    await register(
        tenant,
        "auth.noticed",
        {"email/en": {"subject": "Hello", "text": "Hello"}},
        channels=["email"],
        audience={"users": ["{{ data.user }}"]},
        throttle={"limit": 10, "per": "1h", "channels": ["email"], "on_exceed": "hold"},
    )
    events = [await tenant.send(type="auth.noticed", data={"user": user}) for _ in range(11)]
    for event in events[:10]:
        await tenant.event_is(event, sent=1)
    await tenant.event_is(events[10], held=1)
    (held,) = await tenant.deliveries(events[10])
    assert held["hold_reason"] == "throttled"


async def test_a_long_job_shows_progress_live_and_its_end_as_a_notification(
    platform: Seen, tenant: Tenant
) -> None:
    user = await person(tenant)
    for name in ("job.completed", "job.failed"):
        await register(
            tenant,
            name,
            {"inapp/en": {"title": "Export {{ data.job }}", "body": "{{ data.message }}"}},
            channels=["inapp"],
            audience={"users": ["{{ data.owner }}"]},
        )
    async with open_stream(platform.api_url, await tenant.token(user)) as stream:
        await stream.next("ready")
        progress = {"job": "j-1", "current": 30, "total": 100, "percentage": 30, "message": "reading"}
        await tenant.call(
            "POST",
            "/v1/signals",
            expect=202,
            json={"users": [user], "name": "job.progress", "data": progress},
        )
        signal = await stream.next("signal")
        assert signal.id is None
        assert signal.data["name"] == "job.progress"
        assert signal.data["data"] == progress
        await tenant.send(type="job.completed", data={"job": "j-1", "owner": user, "message": "done"})
        ended = await stream.next("notification")
        assert ended.data["item"]["title"] == "Export j-1"
        await tenant.send(type="job.failed", data={"job": "j-2", "owner": user, "message": "disk full"})
        failed = await stream.next("notification")
        assert failed.data["item"]["body"] == "disk full"
        assert failed.data["counts"]["unread"] == 2


async def test_a_new_user_is_announced_to_every_admin_on_all_three_channels(
    platform: Seen, tenant: Tenant
) -> None:
    mail, number = f"{unique('admin')}@example.org", phone()
    admin = await person(tenant, email=mail, phone=number)
    other = await person(tenant, email=f"{unique('other')}@example.org")
    assert (await tenant.http.put(f"/v1/roles/admin/members/{admin}")).is_success
    await register(
        tenant,
        "user.created",
        {
            "email/en": {"subject": "{{ data.name }} joined", "text": "Welcome {{ data.name }}."},
            "inapp/en": {"title": "{{ data.name }} joined", "body": "Say hello."},
            "whatsapp/en": {"text": "{{ data.name }} joined"},
        },
        channels=["inapp", "email", "whatsapp"],
        audience={"roles": ["admin"]},
    )
    event = await tenant.send(type="user.created", data={"name": "Saruul"})
    done = await tenant.event_is(event, delivered=1, sent=1, read=1)  # WhatsApp tells when it was read
    assert done["progress"] == {
        "total": 3,
        "by_status": {"delivered": 1, "sent": 1, "read": 1},
        "percent": 100,
    }
    (received,) = await platform.mails_to(mail)
    assert received["subject"] == "Saruul joined"
    (message,) = await platform.messages_to(number.removeprefix("+"))
    assert "Saruul joined" in str(message)
    assert {row["subscriber"] for row in await tenant.deliveries(event)} == {admin}
    assert other


async def test_an_invitation_reaches_somebody_given_by_address_only(platform: Seen, tenant: Tenant) -> None:
    mail = f"{unique('guest')}@example.org"
    await register(
        tenant,
        "invitation.sent",
        {"email/en": {"subject": "Join {{ data.team }}", "text": "Click {{ data.url }}"}},
        channels=["email"],
    )
    event = await tenant.send(
        type="invitation.sent",
        data={"team": "Ops", "url": "https://example.org/i/1"},
        audience={"users": [{"id": unique("guest"), "email": mail}]},
    )
    (received,) = await platform.mails_to(mail)
    assert received["subject"] == "Join Ops"
    await tenant.event_is(event, sent=1)


async def test_a_system_message_reaches_everyone_from_one_request(platform: Seen, tenant: Tenant) -> None:
    mails = [f"{unique('all')}@example.org" for _ in range(3)]
    people = await asyncio.gather(*(person(tenant, email=mail) for mail in mails))
    event = await tenant.send(
        type="message",
        data={"title": "Maintenance at nine", "body": "We are away for ten minutes."},
        audience={"everyone": True},
        channels=["inapp", "email"],
    )
    await tenant.event_is(event, delivered=3, sent=3)
    for mail in mails:
        (received,) = await platform.mails_to(mail)
        assert received["subject"] == "Maintenance at nine"
    for one in people:
        token = await tenant.token(one)
        inbox = await tenant.http.get("/v1/inbox", headers={"Authorization": f"Bearer {token}"})
        body = inbox.json()
        assert [item["title"] for item in body["data"]] == ["Maintenance at nine"]
        assert (body["unread"], body["unseen"], body["seq"]) == (1, 1, 1)
