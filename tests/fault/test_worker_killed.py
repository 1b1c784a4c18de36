"""A worker killed with provider calls open, in the middle of a thousand recipients."""

from collections import Counter
from typing import Any

import pytest
from support.audience import address_of, register_many
from support.tenant import Tenant
from support.waiting import eventually

from .conftest import Ground

pytestmark = pytest.mark.timeout(240)

PEOPLE = 1000
CONCURRENCY = 10  # the e-mail worker's default: no more calls than this are open at once


async def _announce(ground: Ground, tenant: Tenant, *, on_unknown: str) -> str:
    await tenant.call(
        "PUT",
        "/v1/event-types/news.published",
        json={"channels": ["inapp", "email"], "on_unknown": on_unknown},
        expect=201,
    )
    for place, content in {
        "email/en": {"subject": "News", "text": "Read them."},
        "inapp/en": {"title": "News", "body": "Read them."},
    }.items():
        await tenant.http.put(f"/v1/event-types/news.published/templates/{place}", json=content)
    await register_many(ground.platform, tenant, PEOPLE)
    return await tenant.send(type="news.published", data={}, audience={"everyone": True})


async def _kill_with_calls_open(ground: Ground) -> int:
    """Let some mail through, hold some calls open, kill the worker; returns how many calls were open."""
    platform = ground.platform

    async def enough_open() -> Any:
        state = await platform.mock("/control/state")
        is_enough = state["open_calls"]["smtp"] >= CONCURRENCY // 2 and state["accepted"]["smtp"] > 20
        return state if is_enough else None

    state = await eventually(enough_open, seconds=60, what="calls held open and mail let through")
    open_calls = int(state["open_calls"]["smtp"])
    await platform.kill("email-worker")
    await platform.mock_control("DELETE", "/control/faults")
    await platform.mock_control("POST", "/control/release")
    await platform.start("email-worker")
    return open_calls


async def _mails(ground: Ground, tenant: Tenant) -> Counter[str]:
    """Return how many mails each person of the tenant has."""
    found: Counter[str] = Counter()
    since = 0
    while True:
        page = await ground.platform.mock("/api/mail", since=since, limit=1000, detail=False)
        for mail in page["items"]:
            found.update(mail["to"])
        if not page["items"]:
            return Counter(
                {who: n for who, n in found.items() if who.endswith(f"@{tenant.slug}.example.org")}
            )
        since = page["last"]


async def _unknown_people(ground: Ground) -> set[str]:
    """Return who has an attempt that ended without a known outcome."""
    pool = await ground.platform.database.pool(max_size=1)
    rows = await pool.fetch(
        """
        SELECT DISTINCT s.id FROM carillon.attempts a JOIN carillon.deliveries d ON d.id = a.delivery_id
        JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
        WHERE a.outcome = 'unknown'
        """
    )
    await pool.close()
    return {row["id"] for row in rows}


async def _hold_some(ground: Ground) -> None:
    rules = [{"fault": "hold", "channel": "smtp", "match": "*", "rate": 0.04}]
    await ground.platform.mock_control("PUT", "/control/faults", params={"seed": 7}, json=rules)


async def test_at_least_once_misses_nobody_and_doubles_only_open_calls(ground: Ground) -> None:
    tenant = await ground.platform.new_tenant()
    await _hold_some(ground)
    event = await _announce(ground, tenant, on_unknown="at_least_once")
    open_calls = await _kill_with_calls_open(ground)
    assert 0 < open_calls <= CONCURRENCY

    async def is_done() -> bool:
        found = await tenant.call("GET", f"/v1/events/{event}")
        return bool(found["progress"]["by_status"] == {"delivered": PEOPLE, "sent": PEOPLE})

    await eventually(is_done, seconds=120, what="every mail sent")
    mails = await _mails(ground, tenant)
    everybody = {address_of(tenant, f"p-{n}") for n in range(1, PEOPLE + 1)}
    assert set(mails) == everybody
    doubled = {who for who, count in mails.items() if count > 1}
    unknown = {address_of(tenant, one) for one in await _unknown_people(ground)}
    assert doubled <= unknown
    assert len(unknown) <= CONCURRENCY
    assert max(mails.values()) <= 2


async def test_at_most_once_gives_nobody_two(ground: Ground) -> None:
    tenant = await ground.platform.new_tenant()
    await _hold_some(ground)
    event = await _announce(ground, tenant, on_unknown="at_most_once")
    open_calls = await _kill_with_calls_open(ground)
    assert 0 < open_calls <= CONCURRENCY

    async def is_done() -> Any:
        counts = (await tenant.call("GET", f"/v1/events/{event}"))["progress"]["by_status"]
        return counts if counts.get("sent", 0) + counts.get("dead", 0) == PEOPLE else None

    counts = await eventually(is_done, seconds=120, what="every mail sent or given up")
    mails = await _mails(ground, tenant)
    assert max(mails.values()) == 1
    assert 0 < counts["dead"] <= CONCURRENCY
    dead = await tenant.call("GET", "/v1/deliveries", params={"event": event, "status": "dead"})
    assert {row["reason"] for row in dead["data"]} == {"outcome_unknown"}
    sent = {address_of(tenant, f"p-{n}") for n in range(1, PEOPLE + 1)} - set(mails)
    assert len(sent) <= counts["dead"]  # whoever has no mail is among those given up


async def test_the_feed_worker_killed_after_its_commit_writes_each_item_once(ground: Ground) -> None:
    platform = ground.platform
    tenant = await platform.new_tenant()
    await platform.stop("inapp-worker")
    platform.extra["inapp-worker"] = {"CARILLON_CRASH_AT": "inapp.mid_feed_write"}
    await platform.start("inapp-worker")
    event = await _announce(ground, tenant, on_unknown="at_least_once")
    died = await platform.processes["inapp-worker"].wait()
    assert died == -9
    platform.extra.pop("inapp-worker")
    await platform.start("inapp-worker")
    await tenant.event_is(event, delivered=PEOPLE, sent=PEOPLE)
    pool = await platform.database.pool(max_size=1)
    wrong = await pool.fetchval(
        """
        SELECT count(*) FROM carillon.subscribers s
        LEFT JOIN carillon.feeds f ON f.tenant_id = s.tenant_id AND f.subscriber = s.number
        WHERE s.tenant_id = $1 AND (
            f.seq IS DISTINCT FROM 1 OR f.unread <> 1 OR f.unseen <> 1 OR 1 <> (
                SELECT count(*) FROM carillon.feed_items i
                WHERE i.tenant_id = s.tenant_id AND i.subscriber = s.number AND i.seq = 1))
        """,
        tenant.id,
    )
    await pool.close()
    assert wrong == 0
