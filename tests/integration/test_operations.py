"""Replays and discards, on a real PostgreSQL: what they touch, what they leave, and how they go on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from carillon_dispatcher.planning.store import PlanStore
from carillon_dispatcher.sweepers.completion import Completion
from carillon_dispatcher.sweepers.holds import DueHolds
from carillon_dispatcher.sweepers.open_events import OpenEvents
from carillon_dispatcher.sweepers.operations import NO_LONGER_DEAD, Operations
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.dead_letters import Graveyard
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.waiting import eventually
from support.world import make_world


@dataclass(slots=True)
class Scene:
    """Dead letters, and dispatchers that work on them."""

    graves: Graveyard
    dispatcher: Pool
    publisher: RecordingPublisher
    ended: int = 0

    def operations(self) -> Operations:
        def on_end() -> None:
            self.ended += 1

        return Operations(self.dispatcher, self.publisher, on_end=on_end)

    async def work(self) -> int:
        """Do batches until none is due; returns how many there were."""
        operations, batches = self.operations(), 0
        while await operations.work():
            batches += 1
        return batches

    def published(self) -> list[WorkChunk]:
        return self.publisher.chunks()

    async def sql(self, statement: str, *values: object) -> None:
        await self.graves.world.pool.execute(statement, *values)


@pytest.fixture
async def scene(migrated: MigratedDatabase) -> AsyncIterator[Scene]:
    owner = await migrated.pool()
    dispatcher = await migrated.pool("carillon_dispatcher", max_size=4)
    yield Scene(Graveyard(await make_world(owner, people=5)), dispatcher, RecordingPublisher())
    await dispatcher.close()
    await owner.close()


async def test_a_replay_sends_again_with_a_new_budget_and_reopens_the_event(scene: Scene) -> None:
    event, ids = await scene.graves.bury(people=3)
    operation = await scene.graves.ask("replay")
    await scene.work()
    (chunk,) = scene.published()
    assert (sorted(chunk.delivery_ids), chunk.attempt, chunk.event_id) == (sorted(ids), 4, event)
    row = await scene.graves.delivery(ids[0])
    assert (row["status"], row["reason"], row["attempt"], row["budget_start"]) == ("queued", None, 3, 3)
    assert row["first_attempt_at"] is None
    done = await scene.graves.operation(operation)
    assert (done["status"], done["acted"], done["skipped"]) == ("done", 3, {})
    assert done["ended_at"] is not None
    assert scene.ended == 1
    assert await scene.graves.count("dead_letters") == 0
    assert await scene.graves.count("due") == 0
    status = await scene.graves.world.pool.fetchval("SELECT status FROM carillon.events")
    assert status == "dispatched"


async def test_every_replayed_and_discarded_delivery_is_audited(scene: Scene) -> None:
    _, replayed = await scene.graves.bury(channel=Channel.EMAIL)
    _, discarded = await scene.graves.bury(channel=Channel.WHATSAPP)
    await scene.graves.ask("replay", channel="email")
    operation = await scene.graves.ask("discard", channel="whatsapp")
    await scene.work()
    rows = await scene.graves.world.pool.fetch("SELECT * FROM carillon.audit_log")
    told = {(row["action"], row["target"]) for row in rows}
    assert {("delivery.replayed", str(replayed[0])), ("delivery.discarded", str(discarded[0]))} <= told
    assert ("operation.done", str(operation)) in told
    assert {(row["actor"], row["reason"]) for row in rows} == {("key:test", "the cause is mended")}
    (discard,) = [row for row in rows if row["action"] == "delivery.discarded"]
    assert discard["details"] == {
        "operation": str(operation),
        "dead": "provider_rejected",
        "attempt": 3,
        "error": "no",
    }


async def test_a_discard_gives_up_and_publishes_nothing(scene: Scene) -> None:
    _, ids = await scene.graves.bury(people=2)
    operation = await scene.graves.ask("discard")
    await scene.work()
    rows = [await scene.graves.delivery(one) for one in ids]
    assert [(row["status"], row["reason"]) for row in rows] == [("discarded", "discarded")] * 2
    assert scene.published() == []
    assert await scene.graves.count("dead_letters") == 0
    assert (await scene.graves.operation(operation))["acted"] == 2


async def _read(scene: Scene, event: UUID, columns: str, values: str) -> None:
    await scene.sql(
        f"""INSERT INTO carillon.feed_items (
            id, tenant_id, subscriber, event_id, seq, attention_seq, type, category, priority, title, body,
            data {columns})
        SELECT carillon.delivery_id(carillon.delivery_prefix($1), d.subscriber, 'inapp'), d.tenant_id,
               d.subscriber, $1, 1, 1, 'message', 'general', 'normal', 't', 'b', '{{}}' {values}
        FROM carillon.deliveries d WHERE d.event_id = $1""",
        event,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE carillon.events SET expires_at = now()", "expired"),
        ("UPDATE carillon.events SET status = 'cancelled', cancelled_at = now()", "cancelled"),
        ("UPDATE carillon.subscribers SET registered = false, email = NULL", "unknown_subscriber"),
        ("UPDATE carillon.subscribers SET email = NULL", "no_address"),
        ("UPDATE carillon.tenants SET disabled_channels = '{email}'", "channel_disabled"),
        (
            """INSERT INTO carillon.preferences (tenant_id, subscriber, document)
            SELECT tenant_id, number, '{"all": {"email": false}}' FROM carillon.subscribers""",
            "opted_out",
        ),
        ("UPDATE carillon.events SET type = 'report.ready'", "template_missing"),
    ],
)
async def test_what_must_not_go_out_again_stays_dead_with_its_reason(
    scene: Scene, change: str, reason: str
) -> None:
    _, ids = await scene.graves.bury()
    await scene.sql(change)
    operation = await scene.graves.ask("replay")
    await scene.work()
    done = await scene.graves.operation(operation)
    assert (done["status"], done["acted"], done["skipped"]) == ("done", 0, {reason: 1})
    assert (await scene.graves.delivery(ids[0]))["status"] == "dead"
    assert await scene.graves.count("dead_letters") == 1
    assert scene.published() == []


async def test_what_was_read_in_the_feed_is_not_sent_again(scene: Scene) -> None:
    event, _ = await scene.graves.bury()
    await _read(scene, event, ", read_at", ", now()")
    operation = await scene.graves.ask("replay")
    await scene.work()
    assert (await scene.graves.operation(operation))["skipped"] == {"already_read": 1}


async def test_reading_all_counts_as_reading_each(scene: Scene) -> None:
    event, _ = await scene.graves.bury()
    await _read(scene, event, "", "")
    await scene.sql(
        """INSERT INTO carillon.feeds (tenant_id, subscriber, seq, read_all_seq, read_all_at)
        SELECT tenant_id, subscriber, 1, 1, now() FROM carillon.feed_items"""
    )
    operation = await scene.graves.ask("replay")
    await scene.work()
    assert (await scene.graves.operation(operation))["skipped"] == {"already_read": 1}


async def test_what_lies_unread_in_the_feed_is_sent_again(scene: Scene) -> None:
    event, _ = await scene.graves.bury()
    await _read(scene, event, "", "")
    await scene.graves.ask("replay")
    await scene.work()
    assert len(scene.published()) == 1


async def test_an_opt_out_does_not_stop_a_mandatory_type(scene: Scene) -> None:
    await scene.sql(
        """INSERT INTO carillon.event_types (tenant_id, name, channels, category, mandatory)
        SELECT id, 'message', '{email}', 'general', true FROM carillon.tenants"""
    )
    await scene.sql(
        """INSERT INTO carillon.preferences (tenant_id, subscriber, document)
        SELECT tenant_id, number, '{"all": {"email": false}}' FROM carillon.subscribers"""
    )
    await scene.graves.bury()
    await scene.graves.ask("replay")
    await scene.work()
    assert len(scene.published()) == 1


async def test_a_filter_touches_only_what_matches(scene: Scene) -> None:
    _, mine = await scene.graves.bury(reason="retries_exhausted")
    _, other_reason = await scene.graves.bury()
    _, other_channel = await scene.graves.bury(channel=Channel.WHATSAPP, reason="retries_exhausted")
    await scene.graves.ask(
        "discard",
        channel="email",
        reason="retries_exhausted",
        provider="smtp",
        event_type="message",
        since=datetime.now(UTC) - timedelta(hours=1),
        until=datetime.now(UTC) + timedelta(hours=1),
    )
    await scene.work()
    assert (await scene.graves.delivery(mine[0]))["status"] == "discarded"
    for left in (*other_reason, *other_channel):
        assert (await scene.graves.delivery(left))["status"] == "dead"


async def test_what_dies_after_an_operation_began_is_left_alone(scene: Scene) -> None:
    operation = await scene.graves.ask("discard")
    await scene.graves.bury()
    await scene.work()
    assert (await scene.graves.operation(operation))["acted"] == 0
    assert await scene.graves.count("dead_letters") == 1


async def test_another_tenants_dead_letters_are_left_alone(scene: Scene) -> None:
    stranger = Graveyard(await make_world(scene.graves.world.pool, slug="other", people=1))
    _, theirs = await stranger.bury()
    await scene.graves.ask("discard")
    await scene.work()
    assert (await stranger.delivery(theirs[0]))["status"] == "dead"


async def test_of_two_operations_on_the_same_rows_one_wins_each(scene: Scene) -> None:
    for _ in range(20):
        await scene.graves.bury(people=5)
    replay = await scene.graves.ask("replay", rate=10_000)
    discard = await scene.graves.ask("discard", rate=10_000)
    workers = [scene.operations() for _ in range(4)]
    await asyncio.gather(*(worker.work() for worker in workers))
    await scene.work()
    done = [await scene.graves.operation(one) for one in (replay, discard)]
    assert [row["status"] for row in done] == ["done", "done"]
    assert sum(row["acted"] for row in done) == 100
    sent = [one for chunk in scene.published() for one in chunk.delivery_ids]
    assert len(sent) == len(set(sent)) == done[0]["acted"]
    for row in done:
        assert set(row["skipped"]) <= {NO_LONGER_DEAD}


async def test_the_rate_bounds_a_batch_and_sets_when_the_next_is_due(scene: Scene) -> None:
    await scene.graves.bury(people=5)
    operation = await scene.graves.ask("replay", rate=2)
    assert await scene.operations().work() == 1
    row = await scene.graves.operation(operation)
    assert (row["status"], row["acted"]) == ("running", 2)
    wait = await scene.graves.world.pool.fetchval("SELECT next_at - updated_at FROM carillon.operations")
    assert wait.total_seconds() == pytest.approx(1.0, abs=0.5)
    assert await scene.operations().work() == 0


async def test_another_dispatcher_goes_on_where_one_ended(scene: Scene) -> None:
    await scene.graves.bury(people=5)
    operation = await scene.graves.ask("discard", rate=2)
    for expected in (2, 4, 5):
        await scene.sql("UPDATE carillon.operations SET next_at = now()")
        assert await scene.operations().work() == 1
        assert (await scene.graves.operation(operation))["acted"] == expected
    assert (await scene.graves.operation(operation))["status"] == "done"


async def test_what_a_crash_kept_from_being_published_is_published_later(scene: Scene) -> None:
    _, ids = await scene.graves.bury(people=2)
    await scene.graves.ask("replay")
    scene.publisher.away = True
    await scene.work()
    scene.publisher.away = False
    owed = await scene.graves.world.pool.fetch("SELECT * FROM carillon.due")
    assert {row["delivery_id"] for row in owed} == set(ids)
    await scene.sql("UPDATE carillon.due SET due_at = now()")
    assert await DueHolds(scene.dispatcher, scene.publisher, batch=10).release() == 2
    (chunk,) = scene.published()
    assert (sorted(chunk.delivery_ids), chunk.attempt) == (sorted(ids), 4)
    assert await scene.graves.count("due") == 0


async def test_a_stopped_operation_does_nothing_more(scene: Scene) -> None:
    await scene.graves.bury(people=5)
    operation = await scene.graves.ask("discard", rate=2)
    assert await scene.operations().work() == 1
    await scene.sql("UPDATE carillon.operations SET status = 'stopped', ended_at = now(), next_at = now()")
    assert await scene.operations().work() == 0
    assert (await scene.graves.operation(operation))["acted"] == 2
    assert await scene.graves.count("dead_letters") == 3


async def test_an_operation_that_cannot_work_fails_with_its_error(scene: Scene) -> None:
    await scene.graves.bury()
    operation = await scene.graves.ask("replay", channel="pigeon")
    assert await scene.operations().work() == 1
    row = await scene.graves.operation(operation)
    assert row["status"] == "failed"
    assert "pigeon" in row["error"]
    assert await scene.operations().work() == 0


async def test_poison_is_sent_again_alone(scene: Scene) -> None:
    await scene.graves.bury(people=2, reason="poison")
    await scene.graves.ask("replay")
    await scene.work()
    assert [(len(chunk.delivery_ids), chunk.isolated) for chunk in scene.published()] == [(1, True)] * 2


async def test_an_event_is_not_closed_while_a_replay_opens_it(
    scene: Scene, migrated: MigratedDatabase
) -> None:
    event, (one,) = await scene.graves.bury()
    await scene.sql("UPDATE carillon.events SET status = 'dispatched'")
    await scene.graves.ask("replay")
    other = await migrated.pool("carillon_dispatcher", max_size=1)
    completion = Completion(other, PlanStore(other, range_size=100), OpenEvents(page=100))
    async with scene.graves.world.pool.acquire() as blocker, blocker.transaction():
        # The replay waits here, half done: it has its event, and its statement is still to come.
        await blocker.execute("LOCK TABLE carillon.corrections IN ACCESS EXCLUSIVE MODE")
        replaying = asyncio.create_task(scene.operations().work())
        await eventually(lambda: _waits(scene), seconds=20, what="the replay to wait")
        closing = asyncio.create_task(completion.sweep())
        await eventually(lambda: _waits(scene, many=2), seconds=20, what="the closing to wait for the replay")
    assert await replaying == 1
    assert await closing == 0
    await other.close()
    assert (await scene.graves.delivery(one))["status"] == "queued"
    status = await scene.graves.world.pool.fetchval("SELECT status FROM carillon.events WHERE id = $1", event)
    assert status == "dispatched"


async def _waits(scene: Scene, *, many: int = 1) -> bool:
    waiting = await scene.graves.world.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(waiting >= many)
