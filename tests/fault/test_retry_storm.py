"""A thousand mails fail together: they come back spread out, and urgent mail does not wait for them (F33)."""

import asyncio
import statistics
from typing import Any
from uuid import UUID

import pytest
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import work_queue
from support.faults.drained import queue_depths
from support.faults.invariants import check
from support.faults.posting import post
from support.faults.traffic import prepare_traffic
from support.platform import Platform
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(600), pytest.mark.extended, pytest.mark.alone]

INITIAL, JITTER = 4.0, 0.5
EMAIL_QUEUES = [work_queue(Channel.EMAIL, lane) for lane in Lane]
_RETURNS = """
    SELECT extract(epoch FROM second.started_at - first.ended_at)::float8 AS pause,
           extract(epoch FROM second.started_at)::float8 AS at
    FROM carillon.attempts first
    JOIN carillon.attempts second ON second.delivery_id = first.delivery_id AND second.number = 2
    JOIN carillon.deliveries d ON d.id = first.delivery_id
    WHERE d.event_id = $1 AND first.number = 1
"""
_WAITS = """
    SELECT extract(epoch FROM a.started_at - e.accepted_at)::float8 AS seconds
    FROM carillon.attempts a
    JOIN carillon.deliveries d ON d.id = a.delivery_id
    JOIN carillon.events e ON e.id = d.event_id
    WHERE e.id = ANY ($1) AND d.channel = 'email' AND a.number = 1
"""


async def _depths(platform: Platform, seen: list[int]) -> None:
    while True:
        seen.append(sum((await queue_depths(platform.addresses.broker_url, EMAIL_QUEUES)).values()))
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("size", [1_000, 10_000])
async def test_returns_are_spread_and_urgent_mail_overtakes(shared_ground: Platform, size: int) -> None:
    pool = await shared_ground.database.pool(max_size=1)
    storm = await prepare_traffic(shared_ground, people=size)
    urgent = await prepare_traffic(shared_ground, people=1)
    retry = {"strategy": "exponential", "initial": f"{INITIAL:g}s", "jitter": JITTER, "max_attempts": 6}
    body = {"channels": ["email"], "retry": {"email": retry}}
    await storm.tenant.call("PUT", "/v1/event-types/bill.sent", expect=201, json=body)
    template = {"subject": "Bill", "text": "Please pay."}
    reply = await storm.tenant.http.put("/v1/event-types/bill.sent/templates/email/en", json=template)
    assert reply.is_success, reply.text
    # A refusal of each recipient, as of a server with greylists: one of the server would open the breaker.
    who = f"*@{storm.tenant.slug}.example.org"
    rule = {"fault": "retry", "channel": "smtp", "match": who, "times": 1, "code": 450}
    await shared_ground.mock_control("PUT", "/control/faults", json=[rule])

    depths: list[int] = []
    measuring = asyncio.create_task(_depths(shared_ground, depths))
    everyone = {"everyone": True}
    event = await post(storm.ledger, "bill.sent", channels=["email"], people=storm.people, audience=everyone)
    codes = await _urgent_until(storm.tenant.http, urgent, event)
    measuring.cancel()
    assert await asyncio.gather(measuring, return_exceptions=True)

    (await check(shared_ground, storm.ledger, urgent.ledger, seconds=120)).assert_clean()
    await _were_spread(pool, event, size)
    waits = sorted(row["seconds"] for row in await pool.fetch(_WAITS, codes))
    await pool.close()
    assert statistics.quantiles(waits, n=10)[-1] < 2.0, waits
    # Failures of one message come back together: the queues hold messages, not a mail each.
    assert max(depths) < size / 2, depths


async def _urgent_until(http: Any, urgent: Any, event: UUID) -> list[UUID]:
    """Send an urgent code every half second until the storm is over; returns these events."""
    codes: list[UUID] = []

    async def over() -> bool:
        codes.append(
            await post(urgent.ledger, "login.code", channels=["email", "whatsapp"], people=urgent.people)
        )
        await asyncio.sleep(0.5)
        counts = (await http.get(f"/v1/events/{event}")).json()["progress"]["by_status"]
        return bool(set(counts) == {"sent"})

    await eventually(over, seconds=400, what="the storm to be over")
    return codes


async def _were_spread(pool: Pool, event: UUID, size: int) -> None:
    rows = await pool.fetch(_RETURNS, event)
    assert len(rows) == size
    pauses = [row["pause"] for row in rows]
    assert min(pauses) >= INITIAL * (1 - JITTER) - 1.0  # a second is the ladder's grain
    assert statistics.pstdev(pauses) > INITIAL * JITTER / 4
    busiest = statistics.multimode(int(row["at"]) for row in rows)
    share = max(sum(int(row["at"]) == second for row in rows) for second in busiest) / size
    assert share < 0.7, f"{share:.0%} came back within one second"
