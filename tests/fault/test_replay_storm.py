"""Ten thousand dead letters replayed while urgent events arrive: it drains, and nothing urgent waits."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from support.audience import address_of, register_many
from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

from .conftest import Ground

pytestmark = [pytest.mark.extended, pytest.mark.alone, pytest.mark.timeout(900)]

DEAD = 10_000
PEOPLE = 500
FEW = 1_000
BATCH = 1_000  # most events of one request
# On two cores that nothing else wants.
DRAIN_SECONDS = 60.0
WAIT_SECONDS = 2.0
REPLAY = "/v1/admin/dead-letters:replay"
DISCARD = "/v1/admin/dead-letters:discard"


@asynccontextmanager
async def urgent_mail(tenant: Tenant, person: str) -> AsyncIterator["Live"]:
    """Keep sending urgent mail for as long as the context lasts."""
    live = Live(tenant, person)
    running = asyncio.create_task(live.run())
    try:
        yield live
    finally:
        live.stopping.set()
        await running


@dataclass(slots=True)
class Live:
    """Urgent mail to one person of another tenant, event by event, until told to stop."""

    tenant: Tenant
    person: str
    begun: dict[str, datetime] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        while not self.stopping.is_set():
            title = f"live {len(self.begun)}"
            self.begun[title] = datetime.now(UTC)
            await self.tenant.send(
                type="message",
                data={"title": title, "body": "Now."},
                audience={"users": [self.person]},
                channels=["email"],
                priority="critical",
            )
            await _pause(self.stopping, 0.1)

    def waits(self, mails: list[dict[str, Any]]) -> list[float]:
        """Return how many seconds each took from the request to the mailbox; every one must have come."""
        arrived = {mail["subject"]: datetime.fromisoformat(mail["received_at"]) for mail in mails}
        return [(arrived[title] - begun).total_seconds() for title, begun in self.begun.items()]


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


async def _dead_letters(ground: Ground, tenant: Tenant, *, count: int) -> None:
    """Have so many mails die of a broken template, each of its own event, half of them urgent; mend it."""
    await tenant.call(
        "PUT",
        "/v1/event-types/code.sent",
        json={"channels": ["email"]},
        expect=201,
    )
    await _template(tenant, subject="Code {{ data.number }}")
    people = await register_many(ground.platform, tenant, PEOPLE)
    for start in range(0, count, BATCH):
        events = [_code(n, people) for n in range(start, min(start + BATCH, count))]
        await tenant.call("POST", "/v1/events", json=events, expect=202)

    async def all_dead() -> bool:
        await _pause(asyncio.Event(), 0.5)
        return int((await tenant.call("GET", "/v1/admin/dead-letters:count"))["total"]) == count

    await eventually(all_dead, seconds=180, what=f"{count} dead letters")
    await _template(tenant, subject="Code {{ data.n }}")


async def _template(tenant: Tenant, *, subject: str) -> None:
    content = {"subject": subject, "text": "Use it soon."}
    reply = await tenant.http.put("/v1/event-types/code.sent/templates/email/en", json=content)
    assert reply.is_success, reply.text


def _code(n: int, people: list[str]) -> dict[str, Any]:
    return {
        "type": "code.sent",
        "data": {"n": n},
        "audience": {"users": [people[n % len(people)]]},
        "priority": "critical" if n % 2 else "normal",
    }


async def _begin(tenant: Tenant, path: str, **body: Any) -> str:
    asked = await tenant.call("POST", path, json=body | {"reason": "the template is mended"}, expect=202)
    return str(asked["operation_id"])


async def _ended(tenant: Tenant, *operations: str) -> list[dict[str, Any]]:
    """Wait until operations have ended, and return them."""

    async def look() -> Any:
        await _pause(asyncio.Event(), 0.2)
        found = [await tenant.call("GET", f"/v1/admin/operations/{one}") for one in operations]
        return found if all(one["status"] != "running" for one in found) else None

    found: list[dict[str, Any]] = await eventually(look, seconds=180, what="the operations to end")
    return found


async def _mails(ground: Ground, tenant: Tenant) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    since = 0
    while True:
        page = await ground.platform.mock("/api/mail", since=since, limit=1000, detail=False)
        found += [
            mail
            for mail in page["items"]
            if all(to.endswith(f"@{tenant.slug}.example.org") for to in mail["to"])
        ]
        if not page["items"]:
            return found
        since = page["last"]


async def _has_mails(ground: Ground, tenant: Tenant, count: int) -> None:
    """Wait until so many mails are sent, asking seldom: looking costs time that the storm needs."""
    pool = await ground.platform.database.pool(max_size=1)

    async def enough() -> bool:
        await _pause(asyncio.Event(), 0.5)
        sent = await pool.fetchval(
            "SELECT count(*) FROM carillon.deliveries WHERE tenant_id = $1 AND status = 'sent'", tenant.id
        )
        return bool(sent >= count)

    await eventually(enough, seconds=120, what=f"{count} mails of {tenant.slug}")
    await pool.close()


async def _as_in_production(platform: Platform) -> None:
    """Take the quick sweeps away: going through ten thousand open events twice a second would count too."""
    platform.extra.clear()
    for name in ("dispatcher", "email-worker"):
        await platform.restart(name)


async def test_ten_thousand_drain_within_a_minute_and_no_urgent_event_waits(ground: Ground) -> None:
    platform = ground.platform
    await _as_in_production(platform)
    tenant, other = await platform.new_tenant(), await platform.new_tenant()
    await _dead_letters(ground, tenant, count=DEAD)
    (person,) = await register_many(platform, other, 1)
    async with urgent_mail(other, person) as live:
        begun = time.monotonic()
        operation = await _begin(tenant, REPLAY, filter={"event_type": "code.sent"})
        (done,) = await _ended(tenant, operation)
        queued = time.monotonic() - begun
        await _has_mails(ground, tenant, DEAD)
        took = time.monotonic() - begun
    waits = live.waits(await platform.mails_to(address_of(other, person), count=len(live.begun)))
    assert (done["status"], done["acted"], done["skipped"]) == ("done", DEAD, {})
    mails = Counter(mail["subject"] for mail in await _mails(ground, tenant))
    assert mails == {f"Code {n}": 1 for n in range(DEAD)}
    told = f"queued in {queued:.1f} s, sent in {took:.1f} s; {len(waits)} urgent, slowest {max(waits):.2f} s"
    assert max(waits) < WAIT_SECONDS, told
    assert took < DRAIN_SECONDS, told


async def test_two_replays_at_once_send_each_mail_once(ground: Ground) -> None:
    tenant = await ground.platform.new_tenant()
    await _dead_letters(ground, tenant, count=FEW)
    body = {"filter": {"event_type": "code.sent"}, "rate_per_second": 500}
    operations = [await _begin(tenant, REPLAY, **body) for _ in range(2)]
    first, second = await _ended(tenant, *operations)
    await _has_mails(ground, tenant, FEW)
    assert first["acted"] + second["acted"] == FEW
    assert {first["status"], second["status"]} == {"done"}
    mails = Counter(mail["subject"] for mail in await _mails(ground, tenant))
    assert mails == {f"Code {n}": 1 for n in range(FEW)}
    assert await _audited(ground, tenant) == {"delivery.replayed": FEW}


async def test_of_a_replay_and_a_discard_one_has_each_dead_letter(ground: Ground) -> None:
    tenant = await ground.platform.new_tenant()
    await _dead_letters(ground, tenant, count=FEW)
    body = {"filter": {"event_type": "code.sent"}, "rate_per_second": 300}
    replay, discard = await _begin(tenant, REPLAY, **body), await _begin(tenant, DISCARD, **body)
    replayed, discarded = await _ended(tenant, replay, discard)
    assert replayed["acted"] + discarded["acted"] == FEW
    await _has_mails(ground, tenant, replayed["acted"])
    expected = {"delivery.replayed": replayed["acted"], "delivery.discarded": discarded["acted"]}
    assert await _audited(ground, tenant) == {name: count for name, count in expected.items() if count}
    mails = Counter(mail["subject"] for mail in await _mails(ground, tenant))
    assert len(mails) == replayed["acted"]
    assert set(mails.values()) <= {1}
    assert (await tenant.call("GET", "/v1/admin/dead-letters:count"))["total"] == 0


async def _audited(ground: Ground, tenant: Tenant) -> dict[str, int]:
    """Return how many deliveries the audit says were replayed and discarded, each once."""
    pool = await ground.platform.database.pool(max_size=1)
    rows = await pool.fetch(
        """SELECT action, count(*) AS n, count(DISTINCT target) AS targets FROM carillon.audit_log
        WHERE tenant_id = $1 AND action LIKE 'delivery.%' GROUP BY action""",
        tenant.id,
    )
    await pool.close()
    assert all(row["n"] == row["targets"] for row in rows)
    return {row["action"]: row["n"] for row in rows}
