"""Bad input: each has a clear problem or a delivery state with its reason, and nothing is lost."""

from typing import Any
from uuid import uuid4

import pytest
from support.seen import Seen
from support.tenant import Tenant

pytestmark = pytest.mark.timeout(120)


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:10]}"


async def register(tenant: Tenant, name: str, email: dict[str, Any], **kind: Any) -> None:
    await tenant.call("PUT", f"/v1/event-types/{name}", json={"channels": ["email"], **kind}, expect=201)
    reply = await tenant.http.put(f"/v1/event-types/{name}/templates/email/en", json=email)
    assert reply.is_success, reply.text


async def person(tenant: Tenant, **given: Any) -> str:
    identifier = unique("u")
    assert (await tenant.http.put(f"/v1/subscribers/{identifier}", json=given)).is_success
    return identifier


def _message(more: bytes) -> bytes:
    return b'{"type": "message", "data": {"title": "a", "body": "b"}, ' + more + b"}"


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b'{"type": ', 400, None),
        (b'{"type": "no.such.type", "data": {}}', 422, "/type"),
        (_message(b'"audience": {"users": "u"}'), 422, "/audience/users"),
        (_message(b'"audience": {"everyone": true}, "surprise": 1'), 422, "/surprise"),
        (_message(b'"audience": {"everyone": true}, "subject": "a\\u0000"'), 422, None),
        (b'{"type": "message", "data": {"title": "' + b"x" * 300_000 + b'"}}', 413, None),
    ],
)
async def test_a_bad_request_is_a_problem_that_names_the_field(
    tenant: Tenant, body: bytes, status: int, pointer: str | None
) -> None:
    reply = await tenant.http.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/problem+json")
    problem = reply.json()
    assert problem["status"] == status
    assert problem["title"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
    assert (await tenant.call("GET", "/v1/events"))["data"] == []


async def test_a_batch_of_1001_is_refused_whole(tenant: Tenant) -> None:
    event = {"type": "message", "data": {"title": "a", "body": "b"}, "audience": {"everyone": True}}
    reply = await tenant.http.post("/v1/events", json=[event] * 1001)
    assert reply.status_code in {413, 422}
    assert (await tenant.call("GET", "/v1/events"))["data"] == []


async def test_no_credential_is_401_and_a_wrong_one_too(tenant: Tenant) -> None:
    for header in ({}, {"Authorization": "Bearer ck_abcdefgh_0123456789abcdef"}):
        tenant.http.headers.pop("Authorization", None)
        assert (await tenant.http.post("/v1/events", json={}, headers=header)).status_code == 401


async def test_an_unknown_subscriber_is_a_row_with_its_reason(tenant: Tenant) -> None:
    event = await tenant.send(
        type="message", data={"title": "a", "body": "b"}, audience={"users": ["nobody-knows"]}
    )
    await tenant.event_is(event, skipped=3)
    rows = await tenant.deliveries(event)
    assert {row["reason"] for row in rows} == {"unknown_subscriber"}
    assert {row["subscriber"] for row in rows} == {"nobody-knows"}


async def test_an_address_that_is_none_fails_for_that_person_alone(platform: Seen, tenant: Tenant) -> None:
    good = f"{unique('good')}@example.org"
    event = await tenant.send(
        type="message",
        data={"title": "a", "body": "b"},
        channels=["email"],
        audience={"users": [{"id": "bad", "email": "not an address"}, {"id": "good", "email": good}]},
    )
    await tenant.event_is(event, failed=1, sent=1)
    by_person = {row["subscriber"]: row for row in await tenant.deliveries(event)}
    assert (by_person["bad"]["status"], by_person["bad"]["reason"]) == ("failed", "invalid_address")
    assert len(await platform.mails_to(good)) == 1


async def test_a_missing_variable_ends_in_the_dead_letters_with_its_name(tenant: Tenant) -> None:
    await register(tenant, "order.paid", {"subject": "Paid {{ data.amount }}", "text": "Thanks"})
    user = await person(tenant, email=f"{unique('u')}@example.org")
    event = await tenant.send(type="order.paid", data={"total": 5}, audience={"users": [user]})
    await tenant.event_is(event, dead=1)
    (row,) = await tenant.deliveries(event)
    assert row["reason"] == "template_error"
    detail = await tenant.call("GET", f"/v1/deliveries/{row['id']}")
    (attempt,) = detail["attempts"]
    assert "amount" in attempt["error"]
    assert attempt["outcome"] == "rejected"


async def test_a_line_break_in_a_subject_makes_no_header(platform: Seen, tenant: Tenant) -> None:
    await register(tenant, "greeting.sent", {"subject": "Hello {{ data.name }}", "text": "Hi"})
    mail = f"{unique('u')}@example.org"
    user = await person(tenant, email=mail)
    event = await tenant.send(
        type="greeting.sent",
        data={"name": "x\r\nBcc: thief@example.org\r\n\r\nbody"},
        audience={"users": [user]},
    )
    await tenant.event_is(event, sent=1)
    (received,) = await platform.mails_to(mail)
    assert "Bcc" not in received["headers"]
    assert received["subject"].startswith("Hello x Bcc: thief@example.org")
    assert mail in str(received["envelope"])
    assert "thief" not in str(received["envelope"])


async def test_the_same_event_twice_is_one_event_and_another_body_a_conflict(tenant: Tenant) -> None:
    user = await person(tenant)
    event = {
        "type": "message",
        "source": "/shop",
        "id": "o-1",
        "data": {"title": "a", "body": "b"},
        "audience": {"users": [user]},
        "channels": ["inapp"],
    }
    first = await tenant.http.post("/v1/events", json=event)
    again = await tenant.http.post("/v1/events", json=event)
    other = await tenant.http.post("/v1/events", json={**event, "data": {"title": "c", "body": "b"}})
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert first.json()["duplicate"] is False
    assert again.json() == {**first.json(), "duplicate": True}
    await tenant.event_is(first.json()["id"], delivered=1)


async def test_a_recipient_the_server_refuses_fails(tenant: Tenant) -> None:
    event = await tenant.send(
        type="message",
        data={"title": "a", "body": "b"},
        channels=["email"],
        audience={"users": [{"id": "r", "email": f"reject+{uuid4().hex}@example.org"}]},
    )
    await tenant.event_is(event, failed=1)
    (row,) = await tenant.deliveries(event)
    assert row["reason"] == "invalid_address"


async def test_a_passing_failure_is_retried_until_it_is_sent(platform: Seen, tenant: Tenant) -> None:
    mail = f"retry+{uuid4().hex}@example.org"
    event = await tenant.send(
        type="message",
        data={"title": "a", "body": "b"},
        channels=["email"],
        audience={"users": [{"id": "r", "email": mail}]},
    )
    await tenant.event_is(event, sent=1)
    (row,) = await tenant.deliveries(event)
    assert row["attempt"] > 1
    detail = await tenant.call("GET", f"/v1/deliveries/{row['id']}")
    outcomes = [attempt["outcome"] for attempt in detail["attempts"]]
    assert outcomes == ["retry"] * (row["attempt"] - 1) + ["sent"]
    assert len(await platform.mails_to(mail)) == 1
