"""People who change their mind, or leave, while something is on its way to them (F38)."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from support.audience import address_of
from support.faults.invariants import check
from support.faults.posting import post
from support.faults.traffic import Traffic, prepare_traffic
from support.platform import Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

NO_MAIL = {"all": {"email": False}}
PEOPLE = 12


async def _prefer(flow: Traffic, person: str, document: dict[str, Any]) -> None:
    await flow.tenant.call("PUT", f"/v1/subscribers/{person}/preferences", json=document)


async def _leave(flow: Traffic, person: str) -> None:
    await flow.tenant.call("DELETE", f"/v1/subscribers/{person}", expect=204)


async def _states(flow: Traffic, event: UUID, channel: str = "email") -> dict[str, tuple[str, str | None]]:
    """Return state and reason by person."""
    found = await flow.tenant.deliveries(str(event))
    return {one["subscriber"]: (one["status"], one["reason"]) for one in found if one["channel"] == channel}


async def _mails(platform: Platform, flow: Traffic, person: str) -> int:
    found = await platform.mock("/api/mail", to=address_of(flow.tenant, person), limit=100, detail=False)
    return len(found["items"])


async def _by_status(flow: Traffic, event: UUID) -> Any:
    return (await flow.tenant.call("GET", f"/v1/events/{event}"))["progress"]["by_status"]


async def test_a_change_while_the_mail_waits_for_its_worker_is_heeded(shared_ground: Platform) -> None:
    flow = await prepare_traffic(shared_ground, people=PEOPLE)
    stays, declines, leaves = flow.people[:3]
    await shared_ground.stop("email-worker")
    event = await post(flow.ledger, "team.note", channels=["email", "inapp"], people=flow.people[:3])
    await flow.tenant.event_is(str(event), queued=3, delivered=3)
    await _prefer(flow, declines, NO_MAIL)
    await _leave(flow, leaves)
    await shared_ground.start("email-worker")
    await flow.tenant.event_is(str(event), sent=1, skipped=2, delivered=3)
    assert await _states(flow, event) == {
        stays: ("sent", None),
        declines: ("skipped", "opted_out"),
        leaves: ("skipped", "unknown_subscriber"),
    }
    assert [await _mails(shared_ground, flow, one) for one in (stays, declines, leaves)] == [1, 0, 0]


async def test_a_change_while_a_retry_waits_is_heeded(shared_ground: Platform) -> None:
    flow = await prepare_traffic(shared_ground, people=PEOPLE)
    stays, declines, leaves = flow.people[:3]
    rule = {"fault": "retry", "channel": "smtp", "match": f"*@{flow.tenant.slug}.example.org"}
    await shared_ground.mock_control("PUT", "/control/faults", json=[rule])
    event = await post(flow.ledger, "team.note", channels=["email", "inapp"], people=flow.people[:3])
    await flow.tenant.event_is(str(event), retrying=3, delivered=3)
    await _prefer(flow, declines, NO_MAIL)
    await _leave(flow, leaves)
    await shared_ground.mock_control("DELETE", "/control/faults")
    await flow.tenant.event_is(str(event), sent=1, skipped=2, delivered=3)
    states = await _states(flow, event)
    assert (states[declines], states[leaves]) == (
        ("skipped", "opted_out"),
        ("skipped", "unknown_subscriber"),
    )
    assert [await _mails(shared_ground, flow, one) for one in (stays, declines, leaves)] == [1, 0, 0]


async def test_a_change_while_the_feed_waits_is_heeded(shared_ground: Platform) -> None:
    flow = await prepare_traffic(shared_ground, people=PEOPLE)
    stays, declines, leaves = flow.people[:3]
    await shared_ground.stop("inapp-worker")
    event = await post(flow.ledger, "team.note", channels=["email", "inapp"], people=flow.people[:3])
    await flow.tenant.event_is(str(event), queued=3, sent=3)
    await _prefer(flow, declines, {"types": {"team.note": {"inapp": False}}})
    await _leave(flow, leaves)
    await shared_ground.start("inapp-worker")
    await flow.tenant.event_is(str(event), delivered=1, skipped=2, sent=3)
    assert await _states(flow, event, "inapp") == {
        stays: ("delivered", None),
        declines: ("skipped", "opted_out"),
        leaves: ("skipped", "unknown_subscriber"),
    }


async def test_minds_that_change_all_the_time_lose_and_double_nothing(shared_ground: Platform) -> None:
    """Whatever side of each change a delivery falls on: it is one row, at rest, and agrees with the mails."""
    flow = await prepare_traffic(shared_ground, people=PEOPLE)
    restless, leaving = flow.people[:4], flow.people[4:8]
    flow.start()
    over = asyncio.Event()

    async def change_minds(person: str) -> None:
        for n in range(1_000):
            if over.is_set():
                return
            await _prefer(flow, person, NO_MAIL if n % 2 else {})

    async with asyncio.TaskGroup() as group:
        for person in restless:
            group.create_task(change_minds(person))
        for person in leaving:
            await flow.accepted(10)
            await _leave(flow, person)
        await flow.accepted(10)
        await flow.stop()
        over.set()
    # For the comparison, what went out before they left is found by the addresses that they had.
    pool = await shared_ground.database.pool(max_size=1)
    await pool.execute(
        """
        UPDATE carillon.subscribers
        SET email = id || '@' || $2 || '.example.org',
            phone = '+9768' || lpad((tenant_id * 10000 + substr(id, 3)::integer)::text, 7, '0')
        WHERE tenant_id = $1 AND id = ANY ($3)
        """,
        flow.tenant.id,
        flow.tenant.slug,
        leaving,
    )
    await pool.close()
    report = await check(shared_ground, flow.ledger)
    # Large events ask who is there when they are planned: whoever had left by then has no row, rightly.
    broadcasts = {str(event) for event, one in flow.ledger.by_event().items() if one.type == "news.published"}
    left = [
        one
        for one in report.violations
        if not (one.invariant == "I1" and one.subject.partition(" ")[0] in broadcasts)
    ]
    assert left == []


async def test_who_leaves_in_the_middle_of_a_fan_out_is_counted_once(shared_ground: Platform) -> None:
    flow = await prepare_traffic(shared_ground, people=200)
    event = await flow.tenant.send(type="news.published", data={"n": 1}, audience={"everyone": True})
    for person in flow.people[::20]:
        await _leave(flow, person)

    async def at_rest() -> bool:
        counts = await _by_status(flow, UUID(event))
        return set(counts) <= {"delivered", "skipped"} and sum(counts.values()) >= 190

    await eventually(at_rest, seconds=60, what="everybody decided about")
    states = await _states(flow, UUID(event), "inapp")
    assert {state for state in states.values() if state[0] != "delivered"} <= {
        ("skipped", "unknown_subscriber")
    }
