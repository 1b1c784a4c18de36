"""Recurring events: each tick is one event, whoever fires it and however often."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_api.errors import unavailable
from carillon_api.intake.service import Answer
from carillon_api.schedules import storage
from carillon_api.schedules.ticking import Ticker, tick_of
from carillon_api.schedules.ticks import ON_TIME
from carillon_shared.clock import SystemClock
from carillon_shared.db.pool import Pool
from support.events_api import Api, Producer, make_producer, open_api, pointers
from support.live_api import make_key
from support.migrated import MigratedDatabase
from support.waiting import eventually

_SCHEDULES = "/v1/schedules"
_YEARLY = "0 4 1 1 *"  # so that no tick of its own comes while a test runs
_NEVER_BY_ITSELF = 30  # seconds: ticks are made by the tests


@pytest.fixture
async def owner(migrated: MigratedDatabase) -> AsyncIterator[Pool]:
    pool = await migrated.pool()
    yield pool
    await pool.close()


@pytest.fixture
async def api(migrated: MigratedDatabase) -> AsyncIterator[Api]:
    async with open_api(migrated.url("carillon_api"), api_schedule_interval=_NEVER_BY_ITSELF) as running:
        yield running


@pytest.fixture
async def producer(api: Api, owner: Pool) -> Producer:
    return await make_producer(api, owner)


def _ticker(api: Api) -> Ticker:
    return Ticker(api.services.pool, api.services.intake, clock=SystemClock(), interval=1)


def _body(**fields: Any) -> dict[str, Any]:
    event = {"type": "ticket.changed", "data": {"owner": "u-1"}}
    return {"cron": "0 9 * * *", "time_zone": "Europe/Berlin", "event": event} | fields


async def _schedule(producer: Producer, **fields: Any) -> dict[str, Any]:
    made = await producer.call("POST", _SCHEDULES, json=_body(**fields))
    assert made.status_code == 201, made.text
    schedule: dict[str, Any] = made.json()
    return schedule


async def _make_due(owner: Pool, schedule: dict[str, Any], *, ago: timedelta = timedelta(0)) -> datetime:
    """Let a schedule's tick have come; returns the tick."""
    tick: datetime = await owner.fetchval(
        """UPDATE carillon.schedules
        SET next_at = date_trunc('second', now()) - $2::interval, claimed_until = NULL
        WHERE id = $1 RETURNING next_at""",
        UUID(schedule["id"]),
        ago,
    )
    return tick


async def _shown(producer: Producer, schedule: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = (await producer.get(f"{_SCHEDULES}/{schedule['id']}")).json()
    return shown


async def _events(producer: Producer) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (await producer.get("/v1/events")).json()["data"]
    return events


async def test_a_tick_that_has_come_is_sent_as_an_event(api: Api, producer: Producer, owner: Pool) -> None:
    schedule = await _schedule(producer, cron=_YEARLY)
    tick = await _make_due(owner, schedule)
    assert await _ticker(api).tick() == 1
    (event,) = await _events(producer)
    assert (event["type"], event["source"]) == ("ticket.changed", f"/schedules/{schedule['id']}")
    assert datetime.fromisoformat(event["external_id"]) == tick
    assert datetime.fromisoformat(event["time"]) == tick
    shown = await _shown(producer, schedule)
    assert (shown["last_event_id"], datetime.fromisoformat(shown["last_at"])) == (event["id"], tick)
    assert datetime.fromisoformat(shown["next_at"]) > datetime.now(UTC)
    assert await _ticker(api).tick() == 0


async def test_many_replicas_fire_a_tick_once(api: Api, producer: Producer, owner: Pool) -> None:
    schedules = [await _schedule(producer, cron=_YEARLY) for _ in range(8)]
    for schedule in schedules:
        await _make_due(owner, schedule)
    done = await asyncio.gather(*(_ticker(api).tick() for _ in range(5)))
    assert sum(done) == 8
    assert len(await _events(producer)) == 8


async def test_a_replica_that_dies_before_it_says_so_does_not_make_a_second_event(
    api: Api, producer: Producer, owner: Pool
) -> None:
    schedule = await _schedule(producer, cron=_YEARLY)
    tick = await _make_due(owner, schedule)
    (claimed,) = await storage.claim(api.services.pool, most=10, seconds=60)
    assert (await producer.post(tick_of(claimed, tick))).status_code == 202  # and there it died
    assert await _ticker(api).tick() == 0  # claimed
    await owner.execute("UPDATE carillon.schedules SET claimed_until = now()")
    assert await _ticker(api).tick() == 1
    (event,) = await _events(producer)
    assert (await _shown(producer, schedule))["last_event_id"] == event["id"]


async def test_a_tick_that_cannot_be_stored_now_is_tried_again_before_it_counts_as_missed(
    api: Api, producer: Producer, owner: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> list[Answer]:
        raise unavailable("Too many events wait to be stored.")

    schedule = await _schedule(producer, cron=_YEARLY)
    await _make_due(owner, schedule)
    with monkeypatch.context() as patched:
        patched.setattr(api.services.intake, "accept", refuse)
        assert await _ticker(api).tick() == 1
    waits = await owner.fetchval("SELECT claimed_until - now() FROM carillon.schedules")
    assert timedelta(0) < waits < ON_TIME / 3
    assert (await _shown(producer, schedule))["last_error"] is None
    await owner.execute("UPDATE carillon.schedules SET claimed_until = now()")
    assert await _ticker(api).tick() == 1
    assert len(await _events(producer)) == 1


@pytest.mark.parametrize(("on_missed", "fired"), [("skip", 0), ("once", 1)])
async def test_ticks_of_an_outage_are_skipped_or_made_up_for_once(
    api: Api, producer: Producer, owner: Pool, on_missed: str, fired: int
) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=10)
    cron = f"{moment.minute} * * * *"  # came ten minutes ago, and many times before
    schedule = await _schedule(producer, cron=cron, time_zone="UTC", on_missed=on_missed)
    await _make_due(owner, schedule, ago=timedelta(hours=30))
    assert await _ticker(api).tick() == 1
    events = await _events(producer)
    assert len(events) == fired
    shown = await _shown(producer, schedule)
    if fired:
        assert datetime.fromisoformat(events[0]["time"]).minute == moment.minute
        assert datetime.now(UTC) - datetime.fromisoformat(events[0]["time"]) < timedelta(minutes=12)
    else:
        assert "missed" in shown["last_error"]
    assert datetime.fromisoformat(shown["next_at"]) > datetime.now(UTC)


async def test_a_paused_schedule_sends_nothing_and_goes_on_from_then(
    api: Api, producer: Producer, owner: Pool
) -> None:
    schedule = await _schedule(producer, cron=_YEARLY)
    path = f"{_SCHEDULES}/{schedule['id']}"
    await _make_due(owner, schedule)
    paused = (await producer.call("PATCH", path, json={"paused": True})).json()
    assert (paused["paused"], paused["next_at"], paused["upcoming"]) == (True, None, [])
    assert await _ticker(api).tick() == 0
    resumed = (await producer.call("PATCH", path, json={"paused": False})).json()
    assert datetime.fromisoformat(resumed["next_at"]) > datetime.now(UTC) - timedelta(seconds=1)
    assert await _events(producer) == []


async def test_a_pause_during_a_tick_stays_a_pause(api: Api, producer: Producer, owner: Pool) -> None:
    schedule = await _schedule(producer, cron=_YEARLY)
    await _make_due(owner, schedule)
    (claimed,) = await storage.claim(api.services.pool, most=10, seconds=60)
    await producer.call("PATCH", f"{_SCHEDULES}/{schedule['id']}", json={"paused": True})
    following = claimed.next_at + timedelta(minutes=1)
    await storage.advance(
        api.services.pool, claimed, following=following, fired=None, event=None, failure=None
    )
    assert (await _shown(producer, schedule))["next_at"] is None


async def test_a_tick_that_is_refused_says_why_and_the_next_one_comes(
    api: Api, producer: Producer, owner: Pool
) -> None:
    schedule = await _schedule(producer, cron=_YEARLY)
    await owner.execute("DELETE FROM carillon.event_types")
    api.services.event_types.forget(producer.tenant_id, "ticket.changed")
    await _make_due(owner, schedule)
    assert await _ticker(api).tick() == 1
    shown = await _shown(producer, schedule)
    assert "no registered event type" in shown["last_error"]
    assert shown["next_at"] is not None
    assert shown["last_event_id"] is None


async def test_a_tick_whose_predecessor_is_not_completed_is_refused(
    api: Api, producer: Producer, owner: Pool
) -> None:
    event = {"type": "ticket.changed", "data": {"owner": "u-1"}, "collapse_key": "report"}
    schedule = await _schedule(producer, cron=_YEARLY, event=event)
    assert (await producer.post(event)).status_code == 202
    await _make_due(owner, schedule)
    assert await _ticker(api).tick() == 1
    shown = await _shown(producer, schedule)
    assert "is not completed" in shown["last_error"]
    assert shown["last_event_id"] is None


async def test_a_schedule_ends(api: Api, producer: Producer, owner: Pool) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    schedule = await _schedule(producer, cron=_YEARLY, ends_at=soon.isoformat())
    await _make_due(owner, schedule)
    await owner.execute("UPDATE carillon.schedules SET ends_at = now()")
    await _ticker(api).tick()
    assert len(await _events(producer)) == 1
    assert (await _shown(producer, schedule))["next_at"] is None


async def test_schedules_are_listed_changed_and_removed(api: Api, producer: Producer, owner: Pool) -> None:
    made = [await _schedule(producer, name=f"n{n}") for n in range(3)]
    page = (await producer.get(_SCHEDULES, params={"limit": 2})).json()
    rest = (await producer.get(_SCHEDULES, params={"cursor": page["next_cursor"]})).json()
    assert {row["id"] for row in page["data"] + rest["data"]} == {one["id"] for one in made}
    path = f"{_SCHEDULES}/{made[0]['id']}"
    changed = (await producer.call("PATCH", path, json={"cron": "0 10 * * *"})).json()
    assert (changed["cron"], changed["name"], changed["time_zone"]) == ("0 10 * * *", "n0", "Europe/Berlin")
    assert changed["next_at"] != made[0]["next_at"]
    assert len(changed["upcoming"]) == 3
    other = await make_producer(api, owner, "globex")
    for method in ("GET", "PATCH", "DELETE"):
        assert (await other.call(method, path, json={})).status_code == 404
    assert (await producer.call("DELETE", path)).status_code == 204
    assert (await producer.get(path)).status_code == 404
    reader = Producer(api.http, await make_key(owner, producer.tenant_id, "events:read"), 0, "")
    assert (await reader.get(_SCHEDULES)).status_code == 200
    assert (await reader.call("POST", _SCHEDULES, json=_body())).status_code == 403


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"cron": "whenever"}, "/cron"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"on_missed": "all"}, "/on_missed"),
        ({"event": {"type": "nope", "data": {}}}, "/event/type"),
        (
            {"event": {"type": "ticket.changed", "data": {"owner": "u"}, "channels": ["fax"]}},
            "/event/channels/0",
        ),
        ({"event": {"type": "ticket.changed", "data": {"owner": "u"}, "id": "x"}}, "/event"),
        ({"event": {"type": "ticket.changed", "data": {}, "expires_at": "2030-01-01T00:00:00Z"}}, "/event"),
        ({"event": {"type": "ticket.changed", "data": {}}}, "/event/data"),
        ({"every": "day"}, "/every"),
    ],
)
async def test_a_wrong_schedule_is_refused_with_its_place(
    producer: Producer, fields: dict[str, Any], pointer: str
) -> None:
    response = await producer.call("POST", _SCHEDULES, json=_body(**fields))
    assert response.status_code == 422, response.text
    assert pointers(response) == [pointer]


async def test_a_running_replica_fires_by_itself(migrated: MigratedDatabase, owner: Pool) -> None:
    async with open_api(migrated.url("carillon_api"), api_schedule_interval=0.05) as running:
        producer = await make_producer(running, owner)
        schedule = await _schedule(producer, cron=_YEARLY)
        await _make_due(owner, schedule)

        async def fired() -> bool:
            return bool(await _events(producer))

        await eventually(fired, seconds=20, what="the tick to be fired")
