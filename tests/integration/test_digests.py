"""Digests on a real PostgreSQL: what is gathered, when it is released, and what becomes of its members."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.ids import delivery_id
from support.digesting import (
    DIGEST,
    MAIL,
    gather,
    lease,
    newest_carrier,
    send_one,
    settle,
    state_of,
    states_of,
)
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_people import make_due
from support.waiting import eventually


@pytest.fixture
async def planning(migrated: MigratedDatabase) -> AsyncIterator[Planning]:
    async with planning_in(migrated, people=3) as made:
        yield made


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def holds(planning: Planning, publisher: RecordingPublisher) -> DueHolds:
    return DueHolds(planning.dispatcher, publisher, batch=100)


@pytest.fixture
async def worker(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Pool]:
    pool = await migrated.pool("carillon_email_worker")
    yield pool
    await pool.close()


async def test_what_a_type_gathers_is_one_message_with_all_its_items(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    assert [await state_of(planning, event) for event in events] == [("held", "digest", None)] * 3
    assert await holds.release() == 0
    await make_due(planning)
    assert await holds.release() == 1
    carrier = await newest_carrier(planning)
    assert publisher.delivery_ids() == [carrier["id"]]
    assert carrier["id"] == delivery_id(carrier["event_id"], planning.world.people[0], Channel.EMAIL)
    event = await planning.event(carrier["event_id"])
    assert (event["type"], event["status"]) == ("carillon.digest", "dispatched")
    assert event["data"] == {"kind": "type", "type": "ticket.changed", "types": ["ticket.changed"]}
    assert await states_of(planning, *events) == ["held"] * 3
    assert await lease(worker, carrier["id"]) == ("leased", [0, 1, 2])
    await settle(worker, carrier["id"], "sent")
    assert await states_of(planning, *events) == ["sent"] * 3
    (row,) = await planning.rows(events[0])
    assert (row["provider"], row["provider_id"], row["hold_reason"]) == ("smtp", "p-1", None)


async def test_a_digest_is_released_once(planning: Planning, migrated: MigratedDatabase) -> None:
    await gather(planning)
    await make_due(planning)
    pools = [await migrated.pool("carillon_dispatcher") for _ in range(4)]
    publishers = [RecordingPublisher() for _ in pools]
    await asyncio.gather(
        *(DueHolds(pool, one, batch=10).release() for pool, one in zip(pools, publishers, strict=True))
    )
    for pool in pools:
        await pool.close()
    assert sum(len(one.published) for one in publishers) == 1
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.due") == 0


async def test_what_was_not_published_is_published_a_minute_later(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher
) -> None:
    await gather(planning)
    await make_due(planning)
    publisher.away = True
    await holds.release()
    publisher.away = False
    assert await holds.release() == 0
    await make_due(planning)
    assert await holds.release() == 1
    assert publisher.delivery_ids() == [(await newest_carrier(planning))["id"]]


async def test_nobody_joins_behind_the_release(planning: Planning, holds: DueHolds) -> None:
    (first,) = await gather(planning, 1)
    await make_due(planning)
    event = await planning.add_event({"users": ["u-1"]}, channels=MAIL)
    async with planning.owner.acquire() as other:
        async with other.transaction():
            # A planner that has joined and not committed: the release leaves this digest alone.
            await other.execute("UPDATE carillon.digests SET lane = lane")
            joining = asyncio.create_task(planning.plan(event))
            await eventually(lambda: _is_blocking(other), seconds=20, what="the planner at the lock")
            assert await holds.release() == 0
        await joining
    assert await holds.release() == 1
    carrier = await newest_carrier(planning)
    members = await planning.owner.fetch(
        "SELECT event_id FROM carillon.digest_members WHERE digest_id = $1 ORDER BY 1", carrier["event_id"]
    )
    assert [row["event_id"] for row in members] == [first, event]


async def test_what_comes_after_the_release_is_the_next_digest(planning: Planning, holds: DueHolds) -> None:
    await gather(planning, 2)
    await make_due(planning)
    await holds.release()
    late = await send_one(planning)
    assert await state_of(planning, late) == ("held", "digest", None)
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.digests WHERE closed_at IS NULL") == 1


async def _is_blocking(connection: Connection) -> bool:
    blocks = "pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {blocks})"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE carillon.events SET status = 'cancelled', cancelled_at = now()",
            ("cancelled", None, "cancelled"),
        ),
        ("UPDATE carillon.events SET expires_at = now()", ("expired", None, "expired")),
        (
            """INSERT INTO carillon.feeds (tenant_id, subscriber, seq, read_all_seq)
            SELECT tenant_id, subscriber, 1, 1 FROM carillon.deliveries;
            INSERT INTO carillon.feed_items (id, tenant_id, subscriber, event_id, seq, attention_seq, type,
                category, priority, title, body, data)
            SELECT carillon.delivery_id(carillon.delivery_prefix(event_id), subscriber, 'inapp'), tenant_id,
                   subscriber, event_id, 1, 1, 'x', 'x', 'normal', '', '', '{}' FROM carillon.deliveries""",
            ("skipped", None, "already_read"),
        ),
    ],
)
@pytest.mark.parametrize("when", ["held", "released"])
async def test_a_member_that_is_over_drops_out(
    planning: Planning,
    holds: DueHolds,
    worker: asyncpg.Pool,
    change: str,
    expected: tuple[str, str | None, str | None],
    when: str,
) -> None:
    first, second, third = await gather(planning)
    change = change.replace(
        "FROM carillon.deliveries", f"FROM carillon.deliveries WHERE event_id = '{second}'"
    )
    change = change if "WHERE" in change else f"{change} WHERE id = '{second}'"
    await make_due(planning)
    if when == "held":
        await planning.owner.execute(change)
    await holds.release()
    if when == "released":
        await planning.owner.execute(change)
    carrier = await newest_carrier(planning)
    assert await lease(worker, carrier["id"]) == ("leased", [0, 2])
    assert await state_of(planning, second) == expected
    await settle(worker, carrier["id"], "sent")
    assert await states_of(planning, first, third) == ["sent", "sent"]
    assert await state_of(planning, second) == expected


async def test_one_of_which_nothing_is_left_is_not_sent(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    await make_due(planning)
    await holds.release()
    await planning.owner.execute("UPDATE carillon.preferences SET document = '{}'")
    await planning.owner.execute("""UPDATE carillon.tenants SET preferences = '{"all": {"email": false}}'""")
    carrier = await newest_carrier(planning)
    assert await lease(worker, carrier["id"]) == ("skipped", [])
    assert await state_of(planning, carrier["event_id"]) == ("skipped", None, "empty_digest")
    assert [await state_of(planning, event) for event in events] == [("skipped", None, "opted_out")] * 3


async def test_members_of_one_that_failed_wait_for_its_retry(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await newest_carrier(planning)
    await lease(worker, carrier["id"])
    await settle(worker, carrier["id"], "retrying")
    assert await states_of(planning, *events) == ["held"] * 3
    await planning.owner.execute("UPDATE carillon.deliveries SET next_attempt_at = now() WHERE carrier")
    assert await lease(worker, carrier["id"], attempt=2) == ("leased", [0, 1, 2])


async def test_a_dead_one_takes_its_members_with_it_and_brings_them_back(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await newest_carrier(planning)
    await lease(worker, carrier["id"])
    await settle(worker, carrier["id"], "dead")
    assert [await state_of(planning, event) for event in events] == [("dead", None, "provider_rejected")] * 3
    dead = await planning.owner.fetch("SELECT delivery_id FROM carillon.dead_letters")
    assert [row["delivery_id"] for row in dead] == [carrier["id"]]
    await planning.owner.execute(
        """INSERT INTO carillon.templates (tenant_id, event_type, channel, locale, version, content)
        VALUES ($1, 'ticket.changed', 'email', 'en', 1, '{}')""",
        planning.world.tenant_id,
    )
    row = await planning.dispatcher.fetchrow(
        "SELECT skip FROM carillon.replay_dead($1, $2, $2, 'me', 'why', gen_random_uuid(), 60, NULL, NULL)",
        [carrier["id"]],
        carrier["id"],
    )
    assert row is not None
    assert row["skip"] is None
    assert await lease(worker, carrier["id"], attempt=2) == ("leased", [0, 1, 2])
    await settle(worker, carrier["id"], "sent", attempt=2)
    assert await states_of(planning, *events) == ["sent"] * 3


async def test_what_an_operator_discards_is_discarded_whole(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await newest_carrier(planning)
    await lease(worker, carrier["id"])
    await settle(worker, carrier["id"], "dead")
    await planning.owner.execute(
        "UPDATE carillon.deliveries SET status = 'discarded', reason = 'discarded' WHERE carrier"
    )
    assert [await state_of(planning, event) for event in events] == [("discarded", None, "discarded")] * 3


async def test_each_key_has_a_digest_of_its_own(planning: Planning) -> None:
    await planning.add_type(digest=DIGEST | {"key": ["ticket", "id"]})
    for ticket in (1, 2, 1, None):
        await send_one(planning, {"ticket": {"id": ticket}})
    rows = await planning.owner.fetch(
        """SELECT g.key, count(*) FROM carillon.digests g JOIN carillon.digest_members m ON m.digest_id = g.id
        GROUP BY 1 ORDER BY 1"""
    )
    assert [tuple(row) for row in rows] == [
        ("type:ticket.changed:", 1),
        ("type:ticket.changed:1", 2),
        ("type:ticket.changed:2", 1),
    ]


async def test_people_and_channels_are_not_mixed(planning: Planning) -> None:
    await planning.add_type(digest=DIGEST | {"channels": ["email", "whatsapp"]})
    for _ in range(2):
        event = await planning.add_event(
            {"everyone": True}, channels=(Channel.INAPP, Channel.EMAIL, Channel.WHATSAPP)
        )
        await planning.plan(event)
    rows = await planning.owner.fetch(
        """SELECT g.subscriber, g.channel, count(*) AS n FROM carillon.digests g
        JOIN carillon.digest_members m ON m.digest_id = g.id GROUP BY 1, 2"""
    )
    assert {row["n"] for row in rows} == {2}
    assert len(rows) == 6
    assert await planning.statuses(event) == {"held": 6, "queued": 3}


async def test_what_is_urgent_is_not_gathered(planning: Planning) -> None:
    await planning.add_type(digest=DIGEST)
    assert await states_of(planning, await send_one(planning, lane=Lane.CRITICAL)) == ["queued"]
