"""What was kept long enough goes: ended, counted out of feeds, dropped; by whoever comes, from any point."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_cli.__main__ import main
from carillon_dispatcher.sweepers import retention as sweeping
from carillon_dispatcher.sweepers.retention import Retention
from carillon_shared.broker import Outgoing, PublishResult
from carillon_shared.db.pool import Pool
from carillon_shared.db.sizes import partition_sizes, retention_plan, table_sizes
from carillon_shared.domain.channels import Channel
from carillon_shared.ids import delivery_id
from carillon_shared.settings import RetentionSettings
from support.live_api import Tenant, open_tenant, running_api
from support.migrated import MigratedDatabase
from support.planning import RecordingPublisher
from support.sse import sse

KEPT = RetentionSettings().kept_days
OLD = datetime.now(UTC) - timedelta(days=200)
TABLES = ["attempts", "deliveries", "events", "feed_items", "receipts"]
_RECOUNT = """
    SELECT s.id, f.unread, f.unseen, f.seq, f.floor_seq,
           count(i.id) FILTER (WHERE i.read_at IS NULL AND i.attention_seq > f.read_all_seq) AS counted,
           count(i.id) FILTER (WHERE i.seen_at IS NULL AND i.attention_seq > f.seen_all_seq) AS counted_unseen
    FROM carillon.feeds f JOIN carillon.subscribers s ON s.tenant_id = f.tenant_id AND s.number = f.subscriber
    LEFT JOIN carillon.feed_items i ON i.tenant_id = f.tenant_id AND i.subscriber = f.subscriber
      AND i.archived_at IS NULL AND i.deleted_at IS NULL AND i.snoozed_until IS NULL
    GROUP BY s.id, f.unread, f.unseen, f.seq, f.floor_seq ORDER BY s.id
"""


@dataclass(slots=True)
class Past:
    """A tenant with things that are 200 days old."""

    owner: Pool
    dispatcher: Pool
    tenant: Tenant

    async def event(self, status: str = "dispatched") -> UUID:
        made = await self.owner.fetchval(
            """INSERT INTO carillon.events (id, tenant_id, type, source, external_id, time, category, lane,
                   channels, data, audience, status, accepted_at, owed_at)
               VALUES (carillon.new_event_id($2), $1, 'message', '/test', gen_random_uuid()::text, $2,
                       'general', 'normal', '{inapp,email}', '{}', '{"everyone": true}',
                       $3::text::carillon.event_status, $2, now())
               RETURNING id""",
            self.tenant.id,
            OLD,
            status,
        )
        return UUID(str(made))

    async def delivery(
        self, event: UUID, status: str, *, channel: Channel = Channel.EMAIL, number: int = 1
    ) -> UUID:
        made = delivery_id(event, number, channel)
        await self.owner.execute(
            """INSERT INTO carillon.deliveries (id, event_id, subscriber, tenant_id, channel, lane, status,
                   attempt, reason, hold_reason, next_attempt_at, lease_token)
               VALUES ($1, $2, $3, $4, $5::text::carillon.channel, 'normal',
                   $6::text::carillon.delivery_status, 3,
                   CASE $6 WHEN 'dead' THEN 'retries_exhausted' END::carillon.reason,
                   CASE $6 WHEN 'held' THEN 'quiet_hours' END::carillon.hold_reason, now(), 7)""",
            made,
            event,
            number,
            self.tenant.id,
            channel.value,
            status,
        )
        if status == "dead":
            await self.owner.execute(
                """INSERT INTO carillon.dead_letters (delivery_id, tenant_id, channel, event_type, attempt,
                       reason, error)
                   VALUES ($1, $2, 'email', 'message', 3, 'retries_exhausted', 'no luck')""",
                made,
                self.tenant.id,
            )
        return made

    async def item(self, person: str, *, old: bool = True, **columns: Any) -> UUID:
        """Write an item as the in-app worker does; returns its id."""
        row = await self.tenant.add_item(person, announce=False)
        if not old:
            return UUID(str(row["id"]))
        moved = {"id": await self.owner.fetchval("SELECT carillon.new_event_id($1)", OLD), **columns}
        await self.owner.execute("DELETE FROM carillon.feed_items WHERE id = $1", row["id"])
        await self.owner.execute(
            """INSERT INTO carillon.feed_items (id, tenant_id, subscriber, event_id, seq, attention_seq, type,
                   category, priority, title, body, data, read_at, seen_at, archived_at, deleted_at)
               VALUES ($1, $2, $3, $1, $4, $4, 'message', 'general', 'normal', 'Old', 'x', '{}', $5, $6, $7,
                   $8)""",
            moved["id"],
            self.tenant.id,
            row["subscriber"] if isinstance(row["subscriber"], int) else await self.number(person),
            row["seq"],
            *(columns.get(name) for name in ("read_at", "seen_at", "archived_at", "deleted_at")),
        )
        # As the change would have counted it: read, seen, archived and deleted items are in no count.
        hidden = "archived_at" in columns or "deleted_at" in columns
        await self.owner.execute(
            """UPDATE carillon.feeds SET unread = unread - $2, unseen = unseen - $3 WHERE subscriber = $1""",
            await self.number(person),
            int(hidden or "read_at" in columns),
            int(hidden or "seen_at" in columns),
        )
        return UUID(str(moved["id"]))

    async def number(self, person: str) -> int:
        return int(
            await self.owner.fetchval(
                "SELECT number FROM carillon.subscribers WHERE tenant_id = $1 AND id = $2",
                self.tenant.id,
                person,
            )
        )

    async def counts(self) -> dict[str, tuple[int, int, int, int]]:
        """Return (unread, unseen, seq, floor) by person, which must be what counting the items gives."""
        rows = await self.owner.fetch(_RECOUNT)
        for row in rows:
            assert (row["unread"], row["unseen"]) == (row["counted"], row["counted_unseen"]), dict(row)
        return {row["id"]: (row["unread"], row["unseen"], row["seq"], row["floor_seq"]) for row in rows}

    async def old_partitions(self) -> list[str]:
        rows = await self.owner.fetch(
            """SELECT parent FROM carillon.partitions()
               WHERE ends_at < now() - interval '90 days' ORDER BY parent"""
        )
        return [row["parent"] for row in rows]

    def retention(self, publisher: RecordingPublisher | None = None) -> Retention:
        return Retention(self.dispatcher, publisher or RecordingPublisher(), days=KEPT, dead_letter_days=90)


@pytest.fixture
async def past(migrated: MigratedDatabase, broker_url: str) -> AsyncIterator[Past]:
    dispatcher = await migrated.pool("carillon_dispatcher")
    async with open_tenant(migrated, broker_url) as tenant:
        await tenant.pool.fetchval("SELECT carillon.ensure_partitions($1, 1)", OLD.date())
        await tenant.add_people("u-1", "u-2", "u-3")
        yield Past(tenant.pool, dispatcher, tenant)
    await dispatcher.close()


async def test_what_is_old_goes_and_what_is_new_stays(past: Past) -> None:
    before = await past.owner.fetchval("SELECT count(*) FROM carillon.partitions()")
    assert await past.old_partitions() == TABLES
    await past.delivery(await past.event("completed"), "sent")
    await past.retention().sweep()
    assert await past.old_partitions() == []
    assert await past.owner.fetchval("SELECT count(*) FROM carillon.partitions()") == before - len(TABLES)
    assert await past.owner.fetchval("SELECT count(*) FROM carillon.events") == 0


async def test_what_is_open_is_ended_told_and_audited_before_it_goes(past: Past) -> None:
    event = await past.event()
    ids = {
        status: await past.delivery(event, status, number=n)
        for n, status in enumerate(("held", "queued", "retrying", "unknown", "dead", "sent"), start=1)
    }
    await past.event("scheduled")
    await past.retention().sweep()
    rows = await past.owner.fetch("SELECT id, status::text, reason::text FROM carillon.deliveries")
    now = {row["id"]: (row["status"], row["reason"]) for row in rows}
    assert {status: now[made] for status, made in ids.items()} == {
        "held": ("expired", "retention"),
        "queued": ("expired", "retention"),
        "retrying": ("expired", "retention"),
        "unknown": ("discarded", "retention"),
        "dead": ("discarded", "retention"),
        "sent": ("sent", None),
    }
    statuses = await past.owner.fetch("SELECT DISTINCT status::text FROM carillon.events")
    assert [row["status"] for row in statuses] == ["expired"]
    audited = await past.owner.fetch(
        "SELECT action, target, details FROM carillon.audit_log WHERE actor = 'retention'"
    )
    assert sorted(row["action"] for row in audited) == [
        *["delivery.discarded"] * 2,
        *["delivery.expired"] * 3,
        *["event.expired"] * 2,
    ]
    (dead,) = (row["details"] for row in audited if row["target"] == str(ids["dead"]))
    assert dead == {"dead": "retries_exhausted", "attempt": 3, "error": "no luck"}
    assert await past.owner.fetchval("SELECT count(*) FROM carillon.dead_letters") == 0
    told = await past.owner.fetchval("SELECT sum(cardinality(delivery_ids)) FROM carillon.outcomes")
    assert told == 5
    await past.retention().sweep()
    assert await past.old_partitions() == []


async def test_what_is_being_sent_is_waited_for(past: Past) -> None:
    made = await past.delivery(await past.event(), "sending")
    for _ in range(2):
        await past.retention().sweep()
    assert await past.old_partitions() == ["deliveries", "events"]
    await past.owner.execute("UPDATE carillon.deliveries SET status = 'sent' WHERE id = $1", made)
    await past.retention().sweep()
    assert await past.old_partitions() == []


async def test_dead_letters_that_nobody_looked_at_are_discarded(past: Past) -> None:
    await past.owner.fetchval("SELECT carillon.ensure_partitions((now() - interval '60 days')::date, 1)")
    event = await past.event()
    ids = [await past.delivery(event, "dead", number=number) for number in (1, 2)]
    await past.owner.execute(
        "UPDATE carillon.dead_letters SET dead_at = now() - interval '91 days' WHERE delivery_id = $1", ids[0]
    )
    assert await past.dispatcher.fetchval("SELECT carillon.discard_outdated(90, 10)") == 1
    rows = await past.owner.fetch("SELECT status::text FROM carillon.deliveries ORDER BY subscriber")
    assert [row["status"] for row in rows] == ["discarded", "dead"]


async def test_feeds_lose_old_items_and_their_counts_in_one_change(past: Past) -> None:
    moment = datetime.now(UTC)
    read = {"read_at": moment, "seen_at": moment}
    states: list[dict[str, Any]] = [{}, {}, read, {"seen_at": moment}, {"archived_at": moment}]
    for columns in states:
        await past.item("u-1", **columns)
    await past.item("u-1", old=False)
    await past.item("u-2", deleted_at=moment)
    await past.item("u-2", old=False)
    await past.item("u-3", old=False)
    assert await past.counts() == {"u-1": (4, 3, 6, 0), "u-2": (1, 1, 2, 0), "u-3": (1, 1, 1, 0)}
    publisher = RecordingPublisher()
    await past.retention(publisher).sweep()
    # One change for who had items. Where a tombstone went, older cursors are lost. The third is as before.
    assert await past.counts() == {"u-1": (1, 1, 7, 7), "u-2": (1, 1, 2, 1), "u-3": (1, 1, 1, 0)}
    assert len(publisher.published) == 1
    assert await past.old_partitions() == []


@pytest.mark.parametrize("at", ["after one step", "before the drop"])
async def test_a_round_that_was_cut_short_is_made_again(
    past: Past, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr(sweeping, "_PEOPLE", 1)
    for person in ("u-1", "u-2", "u-3"):
        await past.item(person)
        await past.item(person, old=False)
    if at == "before the drop":
        monkeypatch.setattr(sweeping, "_DROP", "SELECT length($1) / ($2 * 0)")
    with pytest.raises(Exception, match=r"cut|division"):
        await past.retention(Cut() if at == "after one step" else None).sweep()
    monkeypatch.undo()
    await past.counts()
    await asyncio.gather(*(past.retention().sweep() for _ in range(3)))
    await past.retention().sweep()  # whoever came second has left its part to the first
    assert set((await past.counts()).values()) == {(1, 1, 3, 3)}
    assert await past.old_partitions() == []


class Cut(RecordingPublisher):
    """Ends a round when it tells of the first feed."""

    async def publish_many(self, outgoings: Any) -> list[PublishResult]:
        del outgoings
        raise RuntimeError("cut short")


async def test_nothing_goes_while_somebody_uses_the_table(past: Past) -> None:
    async with past.owner.acquire() as connection, connection.transaction():
        await connection.execute("SELECT count(*) FROM carillon.events")
        await past.retention().sweep()
        assert await past.old_partitions() == ["events"]
    await past.retention().sweep()
    assert await past.old_partitions() == []


async def test_the_dispatcher_cannot_drop_what_is_young(past: Past) -> None:
    names = await past.owner.fetch(
        "SELECT name FROM carillon.partitions() WHERE ends_at > now() - interval '1 day' ORDER BY name"
    )
    for row in names:
        assert not await past.dispatcher.fetchval("SELECT carillon.drop_partition($1, -1000)", row["name"])


async def test_connected_people_read_their_feed_anew(
    past: Past, migrated: MigratedDatabase, broker_url: str
) -> None:
    await past.item("u-1")
    await past.item("u-1", old=False)
    async with running_api(migrated, broker_url) as api:
        person = await past.tenant.client(api).person("u-1")
        async with sse(api.url, token=person.credential) as stream:
            assert (await stream.next()).data["counts"] == {"unread": 2, "unseen": 2, "seq": 2}
            await past.retention(Through(past.tenant)).sweep()
            reset = await stream.next()
        assert (reset.event, reset.id) == ("reset", "3")
        assert reset.data == {"reason": "cursor_too_old", "counts": {"unread": 1, "unseen": 1, "seq": 3}}
        async with sse(api.url, token=person.credential, last_event_id="2") as stream:
            assert [(await stream.next()).event for _ in range(2)] == ["ready", "reset"]
        async with sse(api.url, token=person.credential, last_event_id="3") as stream:
            assert (await stream.next()).id == "3"
        page = await person.call("GET", "/v1/inbox")
        assert (len(page["data"]), page["unread"]) == (1, 1)


class Through(RecordingPublisher):
    """Publishes to the tenant's broker."""

    def __init__(self, tenant: Tenant) -> None:
        super().__init__()
        self._tenant = tenant

    async def publish_many(self, outgoings: Any) -> list[PublishResult]:
        messages: list[Outgoing] = list(outgoings)
        return await self._tenant.session.publisher.publish_many(messages)


async def test_it_can_be_seen_beforehand(past: Past, migrated: MigratedDatabase) -> None:
    await past.delivery(await past.event(), "held")
    url = migrated.url("carillon_owner")
    plan = await retention_plan(url, KEPT, dead_letter_days=90)
    assert [(row["table"], row["open"]) for row in plan["now"]] == [
        ("attempts", 0),
        ("receipts", 0),
        ("feed_items", 0),
        ("deliveries", 2),
        ("events", 2),
    ]
    assert plan["next"]["goes_at"] > datetime.now(UTC)
    assert await past.old_partitions() == TABLES
    sizes = {row["table"]: row for row in await table_sizes(url)}
    assert sizes["deliveries"]["partitions"] > 1
    assert sizes["tenants"]["bytes"] > 0
    first = (await partition_sizes(url, KEPT))[0]
    assert first["goes_at"] - first["ends_at"] == timedelta(days=90)


async def test_the_command_line_shows_both(
    past: Past,
    migrated: MigratedDatabase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CARILLON_MIGRATION_DATABASE_URL", migrated.url("carillon_owner"))

    async def shown(*arguments: str) -> str:
        assert await asyncio.to_thread(main, ["db", *arguments]) == 0
        return capsys.readouterr().out

    assert "deliveries" in await shown("sizes")
    assert f"events_{OLD:%Y%m%d}" in await shown("sizes", "--partitions")
    assert f"events_{OLD:%Y%m%d}" in await shown("retention")
    plan = json.loads(await shown("retention", "--json"))
    assert len(plan["now"]) == len(TABLES)
    assert plan["next"]["goes_at"].endswith("Z")
    assert json.loads(await shown("sizes", "--json"))["data"]
    monkeypatch.setenv("CARILLON_RETENTION_EVENT_DAYS", "30")
    assert await asyncio.to_thread(main, ["db", "retention"]) == 2
    assert "CARILLON_RETENTION_EVENT_DAYS" in capsys.readouterr().err
    assert await past.old_partitions() == TABLES
