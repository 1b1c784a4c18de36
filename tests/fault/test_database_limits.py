"""PostgreSQL at its limits: no room, no sessions left, and transactions in each other's way."""

import asyncio

import pytest
from support.faults.database_faults import failing, no_more_connections, superuser
from support.faults.database_ground import USERS, DatabaseGround
from support.faults.database_sessions import assert_no_leaks
from support.faults.invariants import check
from support.faults.traffic import Traffic, traffic
from support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

CONTENT = {"title": "Hello", "body": "There"}
_STALLED = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE state = 'idle in transaction' AND application_name LIKE 'carillon-%'
"""


async def test_a_full_disk_refuses_events_until_there_is_room(database_ground: DatabaseGround) -> None:
    ground = database_ground
    async with traffic(ground.platform) as flow, superuser(ground) as session:
        await flow.accepted(10)
        async with failing(session, "events", "53100"):
            await _postponed(flow)
            body = {"type": "message", "data": CONTENT, "id": "full", "audience": {"users": flow.people}}
            reply = await flow.tenant.http.post("/v1/events", json=body)
            assert reply.status_code == 503, reply.text
            assert int(reply.headers["Retry-After"]) > 0
        await flow.accepted(10)
        for table, own in (("events", "external_id"), ("event_keys", "id")):
            assert not await session.fetchval(f"SELECT count(*) FROM carillon.{table} WHERE {own} = 'full'")
    (await check(ground.platform, flow.ledger, seconds=120)).assert_clean()


@pytest.mark.extended
@pytest.mark.parametrize("table", ["deliveries", "leases", "attempts", "feed_items"])
async def test_a_full_disk_stops_work_and_not_for_good(database_ground: DatabaseGround, table: str) -> None:
    ground = database_ground
    async with traffic(ground.platform) as flow, superuser(ground) as session:
        await flow.accepted(5)
        async with failing(session, table, "53100"):
            await flow.accepted(20)
        await flow.accepted(5)
    (await check(ground.platform, flow.ledger, seconds=120)).assert_clean()


@pytest.mark.parametrize(
    ("table", "state"),
    [
        ("events", "40P01"),
        ("deliveries", "40P01"),
        pytest.param("events", "40001", marks=pytest.mark.extended),
        pytest.param("deliveries", "40001", marks=pytest.mark.extended),
        pytest.param("deliveries", "55P03", marks=pytest.mark.extended),
    ],
)
async def test_statements_that_lost_to_others_are_done_again(
    database_ground: DatabaseGround, table: str, state: str
) -> None:
    ground = database_ground
    async with superuser(ground) as session, traffic(ground.platform) as flow:
        async with failing(session, table, state, share=0.3):
            await flow.accepted(40)
            refused = flow.ledger.postponed
        await flow.accepted(2)
    (await check(ground.platform, flow.ledger, seconds=120)).assert_clean()
    assert refused < 20  # of forty: the API tries again by itself before it says 503


async def test_without_room_for_sessions_services_wait_and_go_on(database_ground: DatabaseGround) -> None:
    """While running, services get no new connections; one that starts gets none at all."""
    ground = database_ground
    platform = ground.platform
    async with traffic(platform) as flow, superuser(ground) as session:
        await flow.accepted(10)
        await platform.kill("inapp-worker")
        async with no_more_connections(session, USERS):
            await _postponed(flow)
            starting = asyncio.create_task(platform.start("inapp-worker"))

            async def waits() -> bool:
                return "start_waits_for_the_database" in platform.log_tail("inapp-worker")

            await eventually(waits, seconds=30, what="the worker that starts to wait")
        await starting
        await flow.accepted(10)
    (await check(platform, flow.ledger, seconds=120)).assert_clean()
    await assert_no_leaks(ground)


async def test_transactions_that_stood_still_and_were_ended_are_done_again(
    database_ground: DatabaseGround,
) -> None:
    """What `idle_in_transaction_session_timeout` does, without its half minute."""
    ground = database_ground
    for name in USERS:
        pool = await ground.platform.database.pool(f"carillon_{name.replace('-', '_')}", max_size=1)
        assert await pool.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"
        await pool.close()
    async with traffic(ground.platform, rate=30) as flow, superuser(ground) as session:
        await flow.accepted(10)

        async def ended() -> bool:
            return bool(await session.fetchval(_STALLED))

        for _ in range(5):
            await eventually(ended, seconds=60, what="a session within a transaction")
    (await check(ground.platform, flow.ledger, seconds=120)).assert_clean()
    await assert_no_leaks(ground)


async def _postponed(flow: Traffic) -> None:
    before = flow.ledger.postponed

    async def look() -> bool:
        return flow.ledger.postponed > before + 3

    await eventually(look, seconds=30, what="the traffic to be refused")
