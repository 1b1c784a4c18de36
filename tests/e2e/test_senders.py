"""Whom mail is from: the type's sender, else the tenant's."""

from typing import Any
from uuid import uuid4

import pytest
from support.seen import Seen
from support.tenant import Tenant

pytestmark = pytest.mark.timeout(120)

_MAIL = {"subject": "Hello", "html": "<p>Hello</p>"}


async def _mail(platform: Seen, tenant: Tenant, name: str, **sender: str) -> dict[str, Any]:
    address = f"{uuid4().hex[:10]}@example.org"
    reply = await tenant.http.put(f"/v1/subscribers/{name}", json={"email": address})
    assert reply.is_success, reply.text
    body = {"channels": ["email"], **sender}
    await tenant.call("PUT", f"/v1/event-types/{name}", json=body, expect=201)
    reply = await tenant.http.put(f"/v1/event-types/{name}/templates/email/en", json=_MAIL)
    assert reply.is_success, reply.text
    await tenant.send(type=name, data={}, audience={"users": [name]})
    (received,) = await platform.mails_to(address)
    return received


async def test_a_types_sender_goes_before_the_tenants(platform: Seen, tenant: Tenant) -> None:
    defaults = await tenant.call("GET", "/v1/tenant/defaults")
    shop = {"sender_name": "Shop", "sender_address": "shop@acme.example", "reply_to": "help@acme.example"}
    await tenant.call("PUT", "/v1/tenant/defaults", json=defaults | shop)
    plain = await _mail(platform, tenant, "order.shipped")
    assert _headers(plain) == ("Shop <shop@acme.example>", "help@acme.example")
    own = await _mail(
        platform, tenant, "invoice.sent", sender_name="Billing", sender_address="billing@acme.example"
    )
    assert _headers(own) == ("Billing <billing@acme.example>", "help@acme.example")
    answered = await _mail(platform, tenant, "survey.sent", reply_to="survey@acme.example")
    assert _headers(answered) == ("Shop <shop@acme.example>", "survey@acme.example")


def _headers(mail: dict[str, Any]) -> tuple[str, str]:
    headers = {name.lower(): value for name, value in mail["headers"].items()}
    return headers["from"], headers["reply-to"]
