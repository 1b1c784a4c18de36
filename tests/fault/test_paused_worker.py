"""A worker that stands still for longer than its leases last, and wakes up when others did its work (F24)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from carillon_shared.db.pool import Pool
from support.faults.invariants import check
from support.faults.links import Link, proxied
from support.faults.posting import post
from support.faults.traffic import Traffic, prepare_traffic
from support.platform import Platform
from support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

PEOPLE = 5
LEASE_SECONDS = 17.0  # the limit of an attempt here, and the margin that leases have above it
_ATTEMPTS = """
    SELECT a.outcome FROM carillon.attempts a JOIN carillon.deliveries d ON d.id = a.delivery_id
    WHERE d.event_id = $1 ORDER BY a.outcome
"""
_DUE = """
    SELECT count(*) FROM carillon.due u JOIN carillon.deliveries d ON d.id = u.delivery_id
    WHERE d.event_id = $1
"""
_LATE_TOKENS = """
    SELECT count(*) FROM carillon.deliveries
    WHERE event_id = $1 AND channel = 'email' AND lease_token = ANY ($2)
"""


@pytest.fixture
async def pool(shared_ground: Platform) -> AsyncIterator[Pool]:
    opened = await shared_ground.database.pool(max_size=1)
    yield opened
    await opened.close()


async def _hold(platform: Platform, flow: Traffic) -> None:
    """Let the provider take these people's mails and answer when it is told to."""
    rule = {"fault": "hold", "channel": "smtp", "match": f"*@{flow.tenant.slug}.example.org"}
    await platform.mock_control("PUT", "/control/faults", json=[rule])


async def _all_open(platform: Platform) -> None:
    async def look() -> bool:
        return bool((await platform.mock("/control/state"))["open_calls"]["smtp"] == PEOPLE)

    await eventually(look, seconds=30, what="the provider to have every mail")


@asynccontextmanager
async def _asleep(
    platform: Platform, pool: Pool, kind: str, channels: Sequence[str]
) -> AsyncIterator[tuple[Traffic, UUID, list[int]]]:
    """Give an event whose mails the provider has taken while the worker awaiting its answers is frozen."""
    await platform.restart("email-worker")  # its breaker may be open because of the test before
    flow = await prepare_traffic(platform, people=PEOPLE)
    await _hold(platform, flow)
    event = await post(flow.ledger, kind, channels=channels, people=flow.people)
    await _all_open(platform)
    await platform.pause("email-worker")
    tokens = [row["token"] for row in await pool.fetch("SELECT token FROM carillon.leases")]
    await platform.mock_control("DELETE", "/control/faults")
    try:
        yield flow, event, tokens
    finally:
        platform.resume("email-worker")
        await platform.mock_control("POST", "/control/release")


async def _mails(platform: Platform, flow: Traffic) -> int:
    found = await platform.mock("/api/mail", to=f"*@{flow.tenant.slug}.example.org", limit=100, detail=False)
    return len(found["items"])


async def _by_status(flow: Traffic, event: UUID) -> Any:
    return (await flow.tenant.call("GET", f"/v1/events/{event}"))["progress"]["by_status"]


async def test_another_takes_over_and_what_the_first_writes_is_refused(
    shared_ground: Platform, pool: Pool
) -> None:
    await shared_ground.start("email-worker-2")
    async with _asleep(shared_ground, pool, "team.note", ["email", "inapp"]) as (flow, event, tokens):

        async def taken_over() -> bool:
            return bool(await _by_status(flow, event) == {"sent": PEOPLE, "delivered": PEOPLE})

        await eventually(taken_over, seconds=90, what="the second worker to send every mail")
        assert await pool.fetchval(_LATE_TOKENS, event, tokens) == 0
        before = await pool.fetch("SELECT * FROM carillon.deliveries WHERE event_id = $1 ORDER BY id", event)
    # The first has woken up: what it writes now names tokens that no row has any more.
    (await check(shared_ground, flow.ledger)).assert_clean()
    after = await pool.fetch("SELECT * FROM carillon.deliveries WHERE event_id = $1 ORDER BY id", event)
    assert after == before
    assert await _mails(shared_ground, flow) == 2 * PEOPLE  # honest doubles, each with an unknown attempt
    outcomes = [row["outcome"] for row in await pool.fetch(_ATTEMPTS, event)]
    assert outcomes == ["sent"] * 2 * PEOPLE + ["unknown"] * PEOPLE
    await shared_ground.stop("email-worker-2")


@pytest.mark.extended
async def test_what_may_go_out_once_only_is_never_sent_again(shared_ground: Platform, pool: Pool) -> None:
    async with _asleep(shared_ground, pool, "login.code", ["email", "whatsapp"]) as (flow, event, _):

        async def given_up() -> bool:
            return bool(await _by_status(flow, event) == {"sent": PEOPLE, "dead": PEOPLE})

        await eventually(given_up, seconds=90, what="the mails to be given up")
    (await check(shared_ground, flow.ledger)).assert_clean()
    assert await _by_status(flow, event) == {"sent": PEOPLE, "dead": PEOPLE}
    assert await _mails(shared_ground, flow) == PEOPLE


@pytest.mark.extended
async def test_a_late_answer_counts_until_somebody_has_begun_again(
    shared_ground: Platform, pool: Pool
) -> None:
    """The worker has its answers and cannot write them down before its leases have run out."""
    shared_ground.extra["dispatcher"]["CARILLON_DISPATCHER_UNKNOWN_GRACE"] = "40"
    await shared_ground.restart("dispatcher")
    async with proxied(shared_ground, "email-worker", Link.DATABASE) as proxy:
        flow = await prepare_traffic(shared_ground, people=PEOPLE)
        await _hold(shared_ground, flow)
        event = await post(flow.ledger, "team.note", channels=["email", "inapp"], people=flow.people)
        await _all_open(shared_ground)
        proxy.blackhole()
        await shared_ground.mock_control("DELETE", "/control/faults")
        await shared_ground.mock_control("POST", "/control/release")

        async def in_doubt() -> bool:
            return bool(await _by_status(flow, event) == {"unknown": PEOPLE, "delivered": PEOPLE})

        await eventually(in_doubt, seconds=LEASE_SECONDS + 30, what="the leases to run out")
        await proxy.heal()
        await flow.tenant.event_is(str(event), sent=PEOPLE, delivered=PEOPLE)
        assert await _mails(shared_ground, flow) == PEOPLE

        async def grace_is_over() -> bool:
            return not await pool.fetchval(_DUE, event)

        await eventually(grace_is_over, seconds=60, what="the grace to be over")
        (await check(shared_ground, flow.ledger)).assert_clean()
    shared_ground.extra["dispatcher"]["CARILLON_DISPATCHER_UNKNOWN_GRACE"] = "1"
    await shared_ground.restart("dispatcher")
