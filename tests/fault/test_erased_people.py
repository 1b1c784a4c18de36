"""A person who is erased is found in no table any more, and others keep what is theirs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_shared.db.pool import Pool, tenant_transaction
from support.platform import Platform
from support.sse import sse
from support.tenant import Tenant
from support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

WHO = "bat.erdene"
NAME = "Bat-Erdene Dorj"
EMAIL = "500+bat.erdene@example.org"  # whose server answers with an error
PHONE = "+97688112233"
TRACES = ("bat.erdene", "Bat-Erdene", "88112233", "500+b")
_TABLES = """
    SELECT c.oid::regclass::text AS name FROM pg_class c
    WHERE c.relnamespace = 'carillon'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


@pytest.fixture
async def owner(shared_ground: Platform) -> AsyncIterator[Pool]:
    pool = await shared_ground.database.pool(max_size=2)
    yield pool
    await pool.close()


@pytest.fixture
async def tenant(shared_ground: Platform) -> Tenant:
    """A tenant with the person, who is in everything there is, and somebody else."""
    tenant = await shared_ground.new_tenant()
    person = {
        "email": EMAIL,
        "phone": PHONE,
        "locale": "mn-MN",
        "attributes": {"name": NAME, "nickname": "Bat"},
    }
    await tenant.call("PUT", f"/v1/subscribers/{WHO}", expect=201, json=person)
    await tenant.call("PUT", "/v1/subscribers/u-2", expect=201, json={"email": "two@example.org"})
    await tenant.call(
        "PUT",
        "/v1/event-types/report.ready",
        expect=201,
        json={"channels": ["email"], "retry": {"email": {"max_attempts": 1}}},
    )
    template = {"subject": "Ready", "text": "Hello {{ subscriber.attributes.name }}"}
    await tenant.call("PUT", "/v1/event-types/report.ready/templates/email/en", json=template)
    digest = {"channels": ["email"], "digest": {"window": "1h"}}
    await tenant.call("PUT", "/v1/event-types/note.added", expect=201, json=digest)
    await tenant.call("PUT", "/v1/event-types/note.added/templates/email/en", json=template)
    await tenant.call("PUT", f"/v1/roles/support/members/{WHO}", expect=204)
    await tenant.call("PUT", f"/v1/topics/ticket:1/subscribers/{WHO}", expect=204)
    return tenant


async def _everything(tenant: Tenant, owner: Pool) -> None:
    """Have something of the person in as many tables as there are ways to."""
    me = {"Authorization": f"Bearer {await tenant.token(WHO)}"}
    await tenant.call("PUT", "/v1/me/preferences", headers=me, json={"all": {"whatsapp": True}})
    await tenant.call("PUT", "/v1/me/muted/ticket:9", headers=me, expect=204)
    alone = {"users": [WHO]}
    mine = await tenant.send(
        type="message",
        data={"title": f"Hello {NAME}", "body": f"Call {PHONE}", "category": "x"},
        audience=alone,
        channels=["inapp", "whatsapp"],
    )
    shared = await tenant.send(
        type="message",
        data={
            "title": f"{NAME} wrote",
            "body": f"Answer to {EMAIL}",
            "action_url": f"https://x.example/{WHO}",
        },
        audience={"users": [WHO, "u-2"]},
        subject=WHO,
        channels=["inapp"],
    )
    about = await tenant.send(
        type="message",
        data={"title": "Bat", "body": "-"},
        audience={"users": ["u-2"]},
        actor=WHO,
        channels=["inapp"],
    )
    inline = {"users": [{"id": WHO, "email": EMAIL, "phone": PHONE}]}
    later = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    await tenant.send(type="message", data={"title": NAME, "body": "-"}, audience=inline, deliver_at=later)
    dead = await tenant.send(type="report.ready", data={"for": NAME}, audience=alone)
    await tenant.send(type="note.added", data={"by": NAME}, audience=alone)
    schedule = {"cron": "0 9 1 1 *", "time_zone": "UTC", "name": f"For {NAME}"}
    event = {
        "type": "message",
        "data": {"title": f"Dear {NAME}", "body": "-"},
        "audience": {"users": [WHO, "u-2"]},
    }
    await tenant.call("POST", "/v1/schedules", expect=201, json=schedule | {"event": event})
    await tenant.event_is(mine, delivered=1, sent=1)
    await tenant.event_is(shared, delivered=2)
    await tenant.event_is(about, delivered=1)
    await tenant.event_is(dead, dead=1)
    (letter,) = await tenant.deliveries(dead)
    replay: dict[str, Any] = {"filter": {"ids": [letter["id"]]}, "reason": f"wrong address of {NAME}"}
    replay["overrides"] = {"address": {"email": EMAIL}}
    await tenant.call("POST", "/v1/admin/dead-letters:replay", expect=202, json=replay)

    async def corrected() -> bool:
        return bool(
            await owner.fetchval("SELECT count(*) FROM carillon.corrections WHERE tenant_id = $1", tenant.id)
        )

    await eventually(corrected, seconds=30, what="the replay")
    await tenant.event_is(dead, dead=1)
    await owner.execute(
        "UPDATE carillon.attempts SET error = $1 WHERE delivery_id = $2", f"550 no <{EMAIL}>", letter["id"]
    )
    await owner.execute(
        """WITH e AS (INSERT INTO carillon.webhook_endpoints (tenant_id, url, states, channels, secret,
                          disabled_at, disabled_reason)
                      VALUES ($1, 'https://x.example', '{sent}', '{email}', 'whsec_x', now(), 'operator')
                      RETURNING id)
           INSERT INTO carillon.webhook_messages (tenant_id, endpoint_id, type, payload, status, due_at)
           SELECT $1, id, 'delivery.sent', '{"deliveries": [{"subscriber": "bat.erdene"}]}', 'failed', NULL
           FROM e""",
        tenant.id,
    )


async def _found(owner: Pool, tenant: Tenant) -> dict[str, list[str]]:
    """Return the tables in which a trace stands, with the rows. Other tests' tenants have the same person."""
    found: dict[str, list[str]] = {}
    for table in [row["name"] for row in await owner.fetch(_TABLES)]:
        rows = await owner.fetch(f"SELECT to_jsonb(x) AS row, x::text AS text FROM {table} x")
        for row in rows:
            if row["row"].get("tenant_id", tenant.id) != tenant.id:
                continue
            if any(trace.lower() in row["text"].lower() for trace in TRACES):
                found.setdefault(table.removeprefix("carillon."), []).append(row["text"])
    return found


async def _feed_of(tenant: Tenant, person: str) -> Any:
    headers = {"Authorization": f"Bearer {await tenant.token(person)}"}
    return await tenant.call("GET", "/v1/inbox", headers=headers)


async def test_nothing_of_an_erased_person_is_left(
    shared_ground: Platform, tenant: Tenant, owner: Pool
) -> None:
    await _everything(tenant, owner)
    before = await _found(owner, tenant)
    kept = {"subscribers", "events", "feed_items", "schedules", "operations", "audit_log", "attempts"}
    assert before.keys() >= kept | {"webhook_messages", "corrections"}
    theirs = await _feed_of(tenant, "u-2")
    token = await tenant.token(WHO)
    async with sse(shared_ground.api_url, token=token) as stream:
        assert (await stream.next()).event == "ready"
        await tenant.call("DELETE", f"/v1/subscribers/{WHO}?erase=true", expect=204)
        (last,) = await stream.until_end(seconds=30)
        assert last.text.startswith("retry: ")
    assert await _found(owner, tenant) == {}
    async with sse(shared_ground.api_url, token=token) as stream:
        assert stream.status == 404
    await tenant.call("GET", f"/v1/subscribers/{WHO}", expect=404)
    await tenant.call("DELETE", f"/v1/subscribers/{WHO}?erase=true", expect=404)
    feed = await _feed_of(tenant, "u-2")
    assert [feed[name] for name in ("unread", "unseen", "seq")] == [
        theirs[name] for name in ("unread", "unseen", "seq")
    ]
    assert len(feed["data"]) == feed["unread"] == 2
    audit = await tenant.call("GET", "/v1/admin/audit", params={"action": "subscriber.erased"})
    assert [entry["target"][:7] for entry in audit["data"]] == ["erased-"]


@pytest.mark.parametrize("cut", ["before events", "in events"])
async def test_erasing_goes_on_where_it_was_cut_short(
    shared_ground: Platform, tenant: Tenant, owner: Pool, cut: str
) -> None:
    await _everything(tenant, owner)
    api = await shared_ground.database.pool("carillon_api", max_size=1)
    async with tenant_transaction(api, tenant.id) as connection:
        number = await connection.fetchval("SELECT carillon.begin_erasure($1, $2)", tenant.id, WHO)
    async with tenant_transaction(api, tenant.id) as connection:
        await connection.fetch(
            "SELECT * FROM carillon.erase_from_events($1, $2, $3, 1, $4)",
            *(tenant.id, number, UUID(int=0), cut == "in events"),
        )
    await api.close()
    replies = await asyncio.gather(
        *(tenant.http.delete(f"/v1/subscribers/{WHO}?erase=true") for _ in range(2))
    )
    assert {reply.status_code for reply in replies} <= {204, 404}, [reply.text for reply in replies]
    assert await _found(owner, tenant) == {}
    again = {"email": "new@example.org"}
    await tenant.call("PUT", f"/v1/subscribers/{WHO}", expect=201, json=again)
    assert (await _feed_of(tenant, WHO))["data"] == []


async def test_another_tenants_person_of_that_id_stays(
    shared_ground: Platform, tenant: Tenant, owner: Pool
) -> None:
    other = await shared_ground.new_tenant()
    await other.call("PUT", f"/v1/subscribers/{WHO}", expect=201, json={"email": EMAIL})
    await tenant.call("DELETE", f"/v1/subscribers/{WHO}?erase=true", expect=204)
    assert (await other.call("GET", f"/v1/subscribers/{WHO}"))["email"] == EMAIL
    api = await shared_ground.database.pool("carillon_api", max_size=1)
    with pytest.raises(Exception, match="another tenant"):
        async with tenant_transaction(api, tenant.id) as connection:
            await connection.fetchval("SELECT carillon.begin_erasure($1, $2)", other.id, WHO)
    await api.close()


async def test_what_is_still_open_ends(shared_ground: Platform, tenant: Tenant, owner: Pool) -> None:
    await _everything(tenant, owner)

    async def open_ones() -> list[str]:
        rows = await owner.fetch(
            """SELECT d.status::text FROM carillon.deliveries d
               JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
               WHERE d.tenant_id = $1 AND s.id <> 'u-2'
                 AND d.status IN ('held', 'queued', 'retrying', 'dead')""",
            tenant.id,
        )
        return [row["status"] for row in rows]

    async def is_held() -> bool:
        return sorted(await open_ones()) == ["dead", "held"]

    await eventually(is_held, seconds=30, what="a dead letter and a digest's member")
    await tenant.call("DELETE", f"/v1/subscribers/{WHO}?erase=true", expect=204)
    assert await open_ones() == []
    assert await owner.fetchval("SELECT count(*) FROM carillon.digests WHERE tenant_id = $1", tenant.id) == 0
