"""Ten thousand dead letters replayed while urgent events arrive: it drains, and nothing urgent waits."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from support.audience import address_of, register_many
from support.tenant import Tenant
from support.waiting import eventually

from .conftest import Ground

pytestmark = pytest.mark.timeout(400)

DEAD = 10_000
PEOPLE = 500
BATCH = 1_000  # most events of one request
DRAIN_SECONDS = 60.0
WAIT_SECONDS = 2.0
REPLAY = "/v1/admin/dead-letters:replay"
DISCARD = "/v1/admin/dead-letters:discard"


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
    """Have so many mails refused for good, each of an event of its own, half of them urgent ones."""
    await tenant.call(
        "PUT",
        "/v1/event-types/code.sent",
        json={"channels": ["email"], "retry": {"email": {"max_attempts": 1}}},
        expect=201,
    )
    content = {"subject": "Code {{ data.n }}", "text": "It is {{ data.n }}."}
    await tenant.http.put("/v1/event-types/code.sent/templates/email/en", json=content)
    people = await register_many(ground.platform, tenant, PEOPLE)
    rule = {"fault": "server_error", "channel": "smtp", "match": f"*@{tenant.slug}.example.org"}
    await ground.platform.mock_control("PUT", "/control/faults", json=[rule])
    for start in range(0, count, BATCH):
        events = [_code(n, people) for n in range(start, min(start + BATCH, count))]
        await tenant.call("POST", "/v1/events", json=events, expect=202)

    async def all_dead() -> bool:
        return int((await tenant.call("GET", "/v1/admin/dead-letters:count"))["total"]) == count

    await eventually(all_dead, seconds=180, what=f"{count} dead letters")
    await ground.platform.mock_control("DELETE", "/control/faults")


def _code(n: int, people: list[str]) -> dict[str, Any]:
    return {
        "type": "code.sent",
        "data": {"n": n},
        "audience": {"users": [people[n % len(people)]]},
        "priority": "critical" if n % 2 else "normal",
    }


async def _begin(tenant: Tenant, path: str, **body: Any) -> str:
    asked = await tenant.call("POST", path, json=body | {"reason": "the server is mended"}, expect=202)
    return str(asked["operation_id"])


async def _ended(tenant: Tenant, *operations: str) -> list[dict[str, Any]]:
    """Wait until operations have ended, and return them."""

    async def look() -> Any:
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
    async def enough() -> bool:
        found = await ground.platform.mock("/api/mail/count", to=f"*@{tenant.slug}.example.org")
        return bool(found["count"] >= count)

    await eventually(enough, seconds=180, what=f"{count} mails of {tenant.slug}")


async def test_ten_thousand_drain_within_a_minute_and_no_urgent_event_waits(ground: Ground) -> None:
    platform = ground.platform
    tenant, other = await platform.new_tenant(), await platform.new_tenant()
    await _dead_letters(ground, tenant, count=DEAD)
    (person,) = await register_many(platform, other, 1)
    live = Live(other, person)
    urgent = asyncio.create_task(live.run())
    begun = time.monotonic()
    operation = await _begin(tenant, REPLAY, filter={"event_type": "code.sent"})
    (done,) = await _ended(tenant, operation)
    await _has_mails(ground, tenant, DEAD)
    took = time.monotonic() - begun
    live.stopping.set()
    await urgent
    waits = live.waits(await platform.mails_to(address_of(other, person), count=len(live.begun)))
    assert (done["status"], done["acted"], done["skipped"]) == ("done", DEAD, {})
    mails = Counter(mail["subject"] for mail in await _mails(ground, tenant))
    assert mails == {f"Code {n}": 1 for n in range(DEAD)}
    assert took < DRAIN_SECONDS
    assert max(waits) < WAIT_SECONDS, f"{len(waits)} urgent events while {took:.1f} s of replay"
