"""`GET /v1/stats`: what is counted, by what, and of whom."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from carillon_api.statistics import routes
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.events_api import Api, Producer, make_producer, open_api
from support.live_api import make_key
from support.migrated import MigratedDatabase
from support.world import World

_SENT = """
    WITH sent AS (
        UPDATE carillon.deliveries d SET status = 'sent', attempt = 2, provider = 'smtp'
        FROM carillon.events e WHERE e.id = d.event_id AND d.id = ANY ($1)
        RETURNING d.id, d.tenant_id, e.accepted_at
    )
    INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, ended_at, outcome, provider)
    SELECT s.id, 2, s.tenant_id, s.accepted_at, s.accepted_at + make_interval(secs => n), 'sent', 'smtp'
    FROM sent s JOIN unnest($1::uuid[]) WITH ORDINALITY AS a(id, n) ON a.id = s.id
"""


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api")) as running:
        yield running


@pytest.fixture
async def producer(api: Api, owner: Pool) -> Producer:
    return await make_producer(api, owner)


@pytest.fixture
async def world(producer: Producer, owner: Pool) -> World:
    """Two events: of the first three mails were sent, of the second one waits and one was skipped."""
    return await _fill(World(owner, producer.tenant_id, producer.tenant))


async def _fill(world: World) -> World:
    await world.add_people(3)
    first = await world.add_event(type_name="ticket.changed")
    ids = await world.add_deliveries(first, world.people, Channel.EMAIL)
    await world.pool.execute(_SENT, ids)
    await world.add_deliveries(first, world.people[:1], Channel.INAPP)
    second = await world.add_event(type_name="ticket.closed")
    late = await world.add_deliveries(second, world.people[:2], Channel.EMAIL)
    await world.pool.execute(
        "UPDATE carillon.deliveries SET status = 'skipped', reason = 'opted_out' WHERE id = $1", late[0]
    )
    return world


async def _stats(producer: Producer, **params: Any) -> Any:
    answer = await producer.get("/v1/stats", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _counts(stats: Any, *names: str) -> dict[tuple[Any, ...], int]:
    return {tuple(group[name] for name in names): group["deliveries"] for group in stats["data"]}


async def test_deliveries_are_counted_by_channel_and_status(producer: Producer, world: World) -> None:
    stats = await _stats(producer)
    assert _counts(stats, "channel", "status") == {
        ("email", "queued"): 1,
        ("email", "sent"): 3,
        ("email", "skipped"): 1,
        ("inapp", "queued"): 1,
    }
    assert stats["events"] == {"total": 2, "by_status": {"dispatched": 2}}
    assert (stats["by"], stats["truncated"]) == (["channel", "status"], False)


async def test_or_by_whatever_is_asked_for(producer: Producer, world: World) -> None:
    by_type = await _stats(producer, by="type,reason")
    assert _counts(by_type, "type", "reason") == {
        ("ticket.changed", None): 4,
        ("ticket.closed", "opted_out"): 1,
        ("ticket.closed", None): 1,
    }
    hours = {group["hour"] for group in (await _stats(producer, by="hour"))["data"]}
    assert all(datetime.fromisoformat(hour).minute == 0 for hour in hours)
    (whole,) = (await _stats(producer, by=""))["data"]
    assert (whole["deliveries"], whole["attempts"]) == (6, 6)


async def test_latencies_are_those_of_what_was_sent(producer: Producer, world: World) -> None:
    groups = {group["status"]: group for group in (await _stats(producer, by="status"))["data"]}
    assert groups["sent"]["latency"]["p50"] == pytest.approx(2.0)
    assert groups["sent"]["latency"]["p99"] == pytest.approx(2.98)
    assert groups["sent"]["attempts"] == 6
    assert groups["queued"]["latency"] is None


async def test_one_type_one_channel_one_event(producer: Producer, world: World) -> None:
    only = await _stats(producer, type="ticket.closed", by="status")
    assert _counts(only, "status") == {("queued",): 1, ("skipped",): 1}
    assert only["events"]["total"] == 1
    assert _counts(await _stats(producer, channel="inapp", by="channel"), "channel") == {("inapp",): 1}
    events = await _stats(producer, by="event")
    first = min(group["event"] for group in events["data"])
    one = await _stats(producer, event=first, by="channel")
    assert _counts(one, "channel") == {("email",): 3, ("inapp",): 1}


async def test_a_time_without_events_has_nothing(producer: Producer, world: World) -> None:
    before = datetime.now(UTC) - timedelta(days=2)
    stats = await _stats(producer, since=(before - timedelta(days=1)).isoformat(), until=before.isoformat())
    assert (stats["data"], stats["events"]["total"]) == ([], 0)


async def test_nobody_counts_what_is_anothers(
    api: Api, producer: Producer, world: World, owner: Pool
) -> None:
    other = await make_producer(api, owner, "globex")
    assert (await _stats(other))["data"] == []
    event = (await _stats(producer, by="event"))["data"][0]["event"]
    assert (await other.get("/v1/stats", params={"event": event})).status_code == 404
    writer = Producer(api.http, await make_key(owner, producer.tenant_id, "events:write"), 0, "")
    assert (await writer.get("/v1/stats")).status_code == 403


@pytest.mark.parametrize(
    ("params", "parameter"),
    [
        ({"by": "colour"}, "by"),
        ({"by": "type,type"}, "by"),
        ({"since": "2026-11-01T00:00:00Z", "until": "2026-10-01T00:00:00Z"}, "since"),
        ({"since": "2026-09-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}, "since"),
    ],
)
async def test_a_wrong_question_is_refused_with_its_place(
    producer: Producer, params: dict[str, str], parameter: str
) -> None:
    answer = await producer.get("/v1/stats", params=params)
    assert answer.status_code == 422
    assert [fault["parameter"] for fault in answer.json()["errors"]] == [parameter]


async def test_more_groups_than_are_shown_are_cut_off(
    producer: Producer, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_MOST_GROUPS", 1)
    stats = await _stats(producer, by="status")
    assert (len(stats["data"]), stats["truncated"]) == (1, True)


async def test_what_takes_too_long_is_given_up(
    producer: Producer, world: World, owner: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_SECONDS", 0.05)
    async with owner.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE carillon.attempts IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(10):
            answer = await producer.get("/v1/stats")
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:carillon:problem:too-much-to-count"
