"""Digests on a real PostgreSQL: what is gathered, when it is released, and what becomes of its members."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.ids import delivery_id
from support.migrated import MigratedDatabase
from support.planning import Planning, RecordingPublisher, planning_in
from support.quiet_people import end_quiet_hours, give_quiet_hours, make_due
from support.waiting import eventually

_DIGEST = {"key": [], "window": "fixed", "seconds": 600, "channels": ["email"]}
_MAIL = (Channel.EMAIL,)


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


async def _send(planning: Planning, data: dict[str, Any] | None = None, **given: Any) -> UUID:
    event = await planning.add_event({"users": ["u-1"]}, **({"channels": _MAIL} | given))
    await planning.owner.execute("UPDATE carillon.events SET data = $2 WHERE id = $1", event, data or {})
    await planning.plan(event)
    await planning.store.mark_events_published([event])
    return event


async def _state(planning: Planning, event: UUID) -> tuple[str, str | None, str | None]:
    (row,) = await planning.rows(event)
    return row["status"], row["hold_reason"], row["reason"]


async def _states(planning: Planning, *events: UUID) -> list[str]:
    return [(await _state(planning, event))[0] for event in events]


async def _gather(planning: Planning, many: int = 3, **digest: Any) -> list[UUID]:
    await planning.add_type(digest=_DIGEST | digest)
    return [await _send(planning, {"n": n}) for n in range(many)]


async def _carrier(planning: Planning) -> asyncpg.Record:
    row = await planning.owner.fetchrow(
        "SELECT * FROM carillon.deliveries WHERE carrier ORDER BY id DESC LIMIT 1"
    )
    assert row is not None
    return row


@pytest.fixture
async def worker(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Pool]:
    pool = await migrated.pool("carillon_email_worker")
    yield pool
    await pool.close()


async def _lease(worker: asyncpg.Pool, delivery: UUID, *, attempt: int = 1) -> tuple[str, list[Any]]:
    """Take a delivery as a worker does; returns the verdict and the `n` of every item."""
    row = await worker.fetchrow(
        "SELECT verdict, own_data FROM carillon.lease($1, $2, $3, $3, $4, 'test', 30)",
        [delivery],
        [attempt],
        delivery,
        attempt + 40,
    )
    assert row is not None
    return row["verdict"], [item["data"].get("n") for item in (row["own_data"] or {}).get("items", ())]


async def _settle(worker: asyncpg.Pool, delivery: UUID, status: str, *, attempt: int = 1) -> None:
    await worker.execute(
        """SELECT * FROM carillon.settle($1, $2, $3, $4, '{NULL}', $5, '{p-1}', '{sent}', '{NULL}', '{NULL}',
            '{NULL}', '{0}', '{0}', '{carillon.digest}', '{smtp}', '{0}', $6, $6, '{}')""",
        [delivery],
        [attempt + 40],
        [status],
        ["provider_rejected" if status == "dead" else None],
        [60.0 if status == "retrying" else None],
        delivery,
    )


async def test_what_a_type_gathers_is_one_message_with_all_its_items(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    assert [await _state(planning, event) for event in events] == [("held", "digest", None)] * 3
    assert await holds.release() == 0
    await make_due(planning)
    assert await holds.release() == 1
    carrier = await _carrier(planning)
    assert publisher.delivery_ids() == [carrier["id"]]
    assert carrier["id"] == delivery_id(carrier["event_id"], planning.world.people[0], Channel.EMAIL)
    event = await planning.event(carrier["event_id"])
    assert (event["type"], event["status"]) == ("carillon.digest", "dispatched")
    assert event["data"] == {"kind": "type", "type": "ticket.changed", "types": ["ticket.changed"]}
    assert await _states(planning, *events) == ["held"] * 3
    assert await _lease(worker, carrier["id"]) == ("leased", [0, 1, 2])
    await _settle(worker, carrier["id"], "sent")
    assert await _states(planning, *events) == ["sent"] * 3
    (row,) = await planning.rows(events[0])
    assert (row["provider"], row["provider_id"], row["hold_reason"]) == ("smtp", "p-1", None)


async def test_a_digest_is_released_once(planning: Planning, migrated: MigratedDatabase) -> None:
    await _gather(planning)
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
    await _gather(planning)
    await make_due(planning)
    publisher.away = True
    await holds.release()
    publisher.away = False
    assert await holds.release() == 0
    await make_due(planning)
    assert await holds.release() == 1
    assert publisher.delivery_ids() == [(await _carrier(planning))["id"]]


async def test_nobody_joins_behind_the_release(planning: Planning, holds: DueHolds) -> None:
    (first,) = await _gather(planning, 1)
    await make_due(planning)
    event = await planning.add_event({"users": ["u-1"]}, channels=_MAIL)
    async with planning.owner.acquire() as other:
        async with other.transaction():
            # A planner that has joined and not committed: the release leaves this digest alone.
            await other.execute("UPDATE carillon.digests SET lane = lane")
            joining = asyncio.create_task(planning.plan(event))
            await eventually(lambda: _is_blocking(other), seconds=20, what="the planner at the lock")
            assert await holds.release() == 0
        await joining
    assert await holds.release() == 1
    carrier = await _carrier(planning)
    members = await planning.owner.fetch(
        "SELECT event_id FROM carillon.digest_members WHERE digest_id = $1 ORDER BY 1", carrier["event_id"]
    )
    assert [row["event_id"] for row in members] == [first, event]


async def test_what_comes_after_the_release_is_the_next_digest(planning: Planning, holds: DueHolds) -> None:
    await _gather(planning, 2)
    await make_due(planning)
    await holds.release()
    late = await _send(planning)
    assert await _state(planning, late) == ("held", "digest", None)
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
    first, second, third = await _gather(planning)
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
    carrier = await _carrier(planning)
    assert await _lease(worker, carrier["id"]) == ("leased", [0, 2])
    assert await _state(planning, second) == expected
    await _settle(worker, carrier["id"], "sent")
    assert await _states(planning, first, third) == ["sent", "sent"]
    assert await _state(planning, second) == expected


async def test_one_of_which_nothing_is_left_is_not_sent(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    await make_due(planning)
    await holds.release()
    await planning.owner.execute("UPDATE carillon.preferences SET document = '{}'")
    await planning.owner.execute("""UPDATE carillon.tenants SET preferences = '{"all": {"email": false}}'""")
    carrier = await _carrier(planning)
    assert await _lease(worker, carrier["id"]) == ("skipped", [])
    assert await _state(planning, carrier["event_id"]) == ("skipped", None, "empty_digest")
    assert [await _state(planning, event) for event in events] == [("skipped", None, "opted_out")] * 3


async def test_members_of_one_that_failed_wait_for_its_retry(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await _carrier(planning)
    await _lease(worker, carrier["id"])
    await _settle(worker, carrier["id"], "retrying")
    assert await _states(planning, *events) == ["held"] * 3
    await planning.owner.execute("UPDATE carillon.deliveries SET next_attempt_at = now() WHERE carrier")
    assert await _lease(worker, carrier["id"], attempt=2) == ("leased", [0, 1, 2])


async def test_a_dead_one_takes_its_members_with_it_and_brings_them_back(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await _carrier(planning)
    await _lease(worker, carrier["id"])
    await _settle(worker, carrier["id"], "dead")
    assert [await _state(planning, event) for event in events] == [("dead", None, "provider_rejected")] * 3
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
    assert await _lease(worker, carrier["id"], attempt=2) == ("leased", [0, 1, 2])
    await _settle(worker, carrier["id"], "sent", attempt=2)
    assert await _states(planning, *events) == ["sent"] * 3


async def test_what_an_operator_discards_is_discarded_whole(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await _carrier(planning)
    await _lease(worker, carrier["id"])
    await _settle(worker, carrier["id"], "dead")
    await planning.owner.execute(
        "UPDATE carillon.deliveries SET status = 'discarded', reason = 'discarded' WHERE carrier"
    )
    assert [await _state(planning, event) for event in events] == [("discarded", None, "discarded")] * 3


async def test_each_key_has_a_digest_of_its_own(planning: Planning) -> None:
    await planning.add_type(digest=_DIGEST | {"key": ["ticket", "id"]})
    for ticket in (1, 2, 1, None):
        await _send(planning, {"ticket": {"id": ticket}})
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
    await planning.add_type(digest=_DIGEST | {"channels": ["email", "whatsapp"]})
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


async def _window(planning: Planning) -> tuple[timedelta, timedelta | None]:
    row = await planning.owner.fetchrow(
        """SELECT closes_at - opened_at AS open, last_at - opened_at AS most FROM carillon.digests
        WHERE closed_at IS NULL"""
    )
    assert row is not None
    return row["open"], row["most"]


async def _age(planning: Planning, seconds: int) -> None:
    """Let the open digest be so many seconds older."""
    await planning.owner.execute(
        """UPDATE carillon.digests SET opened_at = opened_at - make_interval(secs => $1),
        closes_at = closes_at - make_interval(secs => $1), last_at = last_at - make_interval(secs => $1)""",
        seconds,
    )


async def test_a_fixed_window_ends_when_it_was_to_end(planning: Planning) -> None:
    await _gather(planning, 1)
    await _age(planning, 500)
    await _send(planning)
    open_for, most = await _window(planning)
    assert timedelta(seconds=599) < open_for < timedelta(seconds=601)
    assert most is None


async def test_a_sliding_window_waits_for_silence_but_not_for_ever(planning: Planning) -> None:
    await _gather(planning, 1, window="sliding", max_seconds=1000)
    await _age(planning, 300)
    await _send(planning)
    open_for, _ = await _window(planning)
    assert timedelta(seconds=899) < open_for < timedelta(seconds=902)
    await _age(planning, 300)
    await _send(planning)
    open_for, most = await _window(planning)
    assert open_for == most
    assert timedelta(seconds=999) < open_for < timedelta(seconds=1002)


async def test_the_first_goes_at_once_and_the_rest_is_gathered(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning, 3, first_at_once=True)
    assert await _states(planning, *events) == ["queued", "held", "held"]
    await make_due(planning)
    assert await holds.release() == 1
    assert await _lease(worker, (await _carrier(planning))["id"]) == ("leased", [1, 2])
    assert await _states(planning, await _send(planning)) == ["queued"]


async def test_of_several_planned_together_one_goes_at_once(planning: Planning) -> None:
    await planning.add_type(digest=_DIGEST | {"first_at_once": True})
    events = [await planning.add_event({"users": ["u-1", "u-2"]}, channels=_MAIL) for _ in range(3)]
    await planning.plan(*events)
    assert [await planning.statuses(event) for event in events] == [{"queued": 2}, {"held": 2}, {"held": 2}]


async def test_a_window_in_which_nothing_more_came_ends_in_silence(
    planning: Planning, holds: DueHolds
) -> None:
    await _gather(planning, 1, first_at_once=True)
    await make_due(planning)
    assert await holds.release() == 0
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.deliveries WHERE carrier") == 0
    assert await planning.owner.fetchval("SELECT count(*) FROM carillon.digests WHERE closed_at IS NULL") == 0


async def test_what_is_urgent_is_not_gathered(planning: Planning) -> None:
    await planning.add_type(digest=_DIGEST)
    assert await _states(planning, await _send(planning, lane=Lane.CRITICAL)) == ["queued"]


async def test_what_piles_up_in_quiet_hours_is_one_digest_in_the_morning(
    planning: Planning, holds: DueHolds, publisher: RecordingPublisher, worker: asyncpg.Pool
) -> None:
    await give_quiet_hours(planning, "u-1")
    events = [await _send(planning, {"n": n}) for n in range(3)]
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    carrier = await _carrier(planning)
    assert await _lease(worker, carrier["id"]) == ("leased", [0, 1, 2])
    assert (await planning.event(carrier["event_id"]))["data"]["kind"] == "quiet_hours"
    await _settle(worker, carrier["id"], "sent")
    assert await _states(planning, *events) == ["sent"] * 3


async def test_a_digest_due_in_quiet_hours_is_merged_into_that_of_the_morning(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    await give_quiet_hours(planning, "u-1")
    events.append(await _send(planning, {"n": 9}))
    await make_due(planning)
    assert await holds.release() == 0
    assert [await _state(planning, event) for event in events] == [("held", "quiet_hours", None)] * 4
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert await _lease(worker, (await _carrier(planning))["id"]) == ("leased", [0, 1, 2, 9])


async def test_a_digest_that_a_worker_meets_in_quiet_hours_waits_by_itself(
    planning: Planning, holds: DueHolds, worker: asyncpg.Pool
) -> None:
    events = await _gather(planning)
    await make_due(planning)
    await holds.release()
    carrier = await _carrier(planning)
    await give_quiet_hours(planning, "u-1")
    assert await _lease(worker, carrier["id"]) == ("quiet", [])
    assert await holds.release() == 0
    assert await _state(planning, carrier["event_id"]) == ("held", "quiet_hours", None)
    await end_quiet_hours(planning)
    assert await holds.release() == 1
    assert await _lease(worker, carrier["id"]) == ("leased", [0, 1, 2])
    assert await _states(planning, *events) == ["held"] * 3
