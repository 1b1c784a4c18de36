"""What became of events and deliveries: `GET` and `DELETE /v1/events`, `GET /v1/deliveries`."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from carillon_dispatcher.sweepers.cancellations import Cancellations
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from support.events_api import Api, Producer, make_producer, open_api, pointers
from support.live_api import make_key
from support.migrated import MigratedDatabase
from support.world import World

_EVENT: dict[str, Any] = {"type": "ticket.changed", "data": {"owner": "u-1"}}


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
    world = World(owner, producer.tenant_id, producer.tenant)
    await world.add_people(6)
    return world


async def _set_status(owner: Pool, delivery: UUID, status: str, **columns: Any) -> None:
    values = {"status": status} | columns
    casts = {"status": "delivery_status", "reason": "reason", "hold_reason": "hold_reason"}
    places = ", ".join(
        f"{name} = ${n}" + (f"::text::carillon.{casts[name]}" if name in casts else "")
        for n, name in enumerate(values, start=2)
    )
    await owner.execute(f"UPDATE carillon.deliveries SET {places} WHERE id = $1", delivery, *values.values())


async def test_an_accepted_event_is_shown_with_its_progress(producer: Producer) -> None:
    accepted = (await producer.post(_EVENT | {"id": "e-1", "subject": "ticket/1"})).json()
    shown = (await producer.get(f"/v1/events/{accepted['id']}")).json()
    assert shown["status"] == "accepted"
    assert shown["progress"] == {"total": 0, "by_status": {}, "percent": 0.0}
    expected = {
        "id": accepted["id"],
        "type": "ticket.changed",
        "source": "/",
        "external_id": "e-1",
        "subject": "ticket/1",
        "priority": "normal",
        "channels": ["inapp", "email"],
        "data": {"owner": "u-1"},
        "audience": {"users": ["u-1"]},
    }
    assert {name: shown[name] for name in expected} == expected
    assert shown["accepted_at"].endswith("Z")


async def test_progress_counts_what_has_come_to_rest(producer: Producer, world: World, owner: Pool) -> None:
    event = await world.add_event()
    ids = await world.add_deliveries(event, world.people, Channel.EMAIL)
    neighbour = await world.add_event()
    await world.add_deliveries(neighbour, world.people, Channel.EMAIL)
    await _set_status(owner, ids[0], "sent")
    await _set_status(owner, ids[1], "dead", reason="retries_exhausted")
    await _set_status(owner, ids[2], "unknown")
    progress = (await producer.get(f"/v1/events/{event}")).json()["progress"]
    assert progress == {
        "total": 6,
        "by_status": {"queued": 3, "sent": 1, "dead": 1, "unknown": 1},
        "percent": 33.3,
    }


async def test_events_are_listed_newest_first_page_by_page(producer: Producer) -> None:
    ids = [(await producer.post(_EVENT)).json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = (
            await producer.get("/v1/events", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [event["id"] for event in page["data"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert sorted(seen) == sorted(ids)
    assert seen == sorted(seen, reverse=True)


async def test_events_are_listed_by_type_status_and_time(producer: Producer) -> None:
    moment = datetime.now(UTC) + timedelta(days=1)
    soon = (await producer.post(_EVENT | {"deliver_at": moment.isoformat()})).json()["id"]
    message = {"type": "message", "data": {"title": "a", "body": "b"}, "audience": {"everyone": True}}
    other = (await producer.post(message)).json()["id"]

    async def listed(**params: str) -> set[str]:
        response = await producer.get("/v1/events", params=params)
        assert response.status_code == 200, response.text
        return {event["id"] for event in response.json()["data"]}

    assert await listed() == {soon, other}
    assert await listed(type="message") == {other}
    assert await listed(status="scheduled") == {soon}
    assert await listed(since=moment.isoformat()) == set()
    assert await listed(until=moment.isoformat()) == {soon, other}


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=201", "limit"),
        ("/v1/events?limit=x", "limit"),
        ("/v1/events?status=gone", "status"),
        ("/v1/events?since=yesterday", "since"),
        ("/v1/events?cursor=!", "cursor"),
        ("/v1/events?cursor=bm9uZQ", "cursor"),
        ("/v1/deliveries?event=x", "event"),
        ("/v1/deliveries?channel=fax", "channel"),
        ("/v1/deliveries?subscriber=%00", "subscriber"),
    ],
)
async def test_a_wrong_parameter_is_named(producer: Producer, path: str, parameter: str) -> None:
    response = await producer.get(path)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert pointers(response) == [parameter]


async def test_deliveries_are_shown_with_their_attempts(
    producer: Producer, world: World, owner: Pool
) -> None:
    event = await world.add_event()
    first, second = await world.add_deliveries(event, world.people[:2], Channel.EMAIL)
    await owner.executemany(
        """INSERT INTO carillon.attempts (delivery_id, number, tenant_id, started_at, ended_at, outcome,
                                          provider, code, error)
           VALUES ($1, $2, $3, now(), now(), 'retry', 'smtp', '451', 'later')""",
        [(first, 2, world.tenant_id), (first, 1, world.tenant_id)],
    )
    shown = (await producer.get(f"/v1/deliveries/{first}")).json()
    assert [attempt["number"] for attempt in shown["attempts"]] == [1, 2]
    assert shown["attempts"][0]["code"] == "451"
    expected = {
        "event_id": str(event),
        "subscriber": "u-1",
        "channel": "email",
        "status": "queued",
        "reason": None,
    }
    assert {name: shown[name] for name in expected} == expected
    listed = (await producer.get("/v1/deliveries", params={"event": str(event)})).json()["data"]
    assert [delivery["id"] for delivery in listed] == [str(second), str(first)]
    assert listed[1] == shown


async def test_deliveries_are_listed_by_person_channel_and_status(
    producer: Producer, world: World, owner: Pool
) -> None:
    for _ in range(2):
        event = await world.add_event()
        mails = await world.add_deliveries(event, world.people[:3], Channel.EMAIL)
        await world.add_deliveries(event, world.people[:1], Channel.INAPP)
    await _set_status(owner, mails[0], "sent")

    async def count(**params: str) -> int:
        seen, cursor = 0, None
        while True:
            page = await producer.get(
                "/v1/deliveries", params={"limit": 2} | params | ({"cursor": cursor} if cursor else {})
            )
            seen += len(page.json()["data"])
            cursor = page.json()["next_cursor"]
            if cursor is None:
                return seen

    assert await count() == 8
    assert await count(subscriber="u-1") == 4
    assert await count(subscriber="nobody") == 0
    assert await count(channel="inapp") == 2
    assert await count(status="sent") == 1
    assert await count(subscriber="u-1", channel="email", status="queued") == 1


async def test_another_tenants_objects_are_not_there(
    api: Api, producer: Producer, world: World, owner: Pool
) -> None:
    other = await make_producer(api, owner, "other")
    event = await world.add_event()
    (delivery,) = await world.add_deliveries(event, world.people[:1], Channel.EMAIL)
    for method, path in [
        ("GET", f"/v1/events/{event}"),
        ("DELETE", f"/v1/events/{event}"),
        ("GET", f"/v1/deliveries/{delivery}"),
    ]:
        assert (await other.call(method, path)).status_code == 404, path
    for path in (
        "/v1/events",
        "/v1/deliveries",
        f"/v1/deliveries?event={event}",
        "/v1/deliveries?subscriber=u-1",
    ):
        assert (await other.get(path)).json()["data"] == [], path
    assert await world.statuses(event) == {"queued": 1}
    assert (await producer.get(f"/v1/events/{event}")).json()["status"] == "dispatched"


async def test_row_level_security_holds_without_the_help_of_our_queries(
    api: Api, producer: Producer, world: World
) -> None:
    await producer.post(_EVENT)
    event = await world.add_event()
    await world.add_deliveries(event, world.people, Channel.EMAIL)
    for table in ("events", "deliveries", "subscribers", "event_types", "api_keys", "event_keys"):
        if table in {"api_keys", "event_keys"}:
            with pytest.raises(Exception, match="permission denied"):
                await api.services.pool.fetchval(f"SELECT count(*) FROM carillon.{table}")
        else:
            assert await api.services.pool.fetchval(f"SELECT count(*) FROM carillon.{table}") == 0, table


@pytest.mark.parametrize("identifier", ["01975bca-0000-7000-8000-000000000000", "x", "1234"])
async def test_what_is_not_there_is_404(producer: Producer, identifier: str) -> None:
    for method, path in [
        ("GET", f"/v1/events/{identifier}"),
        ("DELETE", f"/v1/events/{identifier}"),
        ("GET", f"/v1/deliveries/{identifier}"),
    ]:
        response = await producer.call(method, path)
        assert response.status_code == 404, path
        assert response.json()["type"] == "urn:carillon:problem:not-found"


async def test_unknown_addresses_and_methods_are_problems_too(producer: Producer) -> None:
    for method, path, status in [("GET", "/v1/nonsense", 404), ("PATCH", "/v1/events", 405)]:
        response = await producer.call(method, path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"


async def test_reading_and_cancelling_need_their_scopes(api: Api, owner: Pool, producer: Producer) -> None:
    event = (await producer.post(_EVENT)).json()["id"]
    writer = await make_key(owner, producer.tenant_id, "events:write")
    reader = await make_key(owner, producer.tenant_id, "events:read")
    for method, path, key, status in [
        ("GET", f"/v1/events/{event}", writer, 403),
        ("GET", "/v1/deliveries", writer, 403),
        ("DELETE", f"/v1/events/{event}", reader, 403),
        ("GET", f"/v1/events/{event}", reader, 200),
        ("DELETE", f"/v1/events/{event}", writer, 200),
    ]:
        response = await api.http.request(method, path, headers={"Authorization": f"Bearer {key}"})
        assert response.status_code == status, (method, path)


async def test_cancelling_stops_an_event_before_it_is_planned(producer: Producer, owner: Pool) -> None:
    event = (await producer.post(_EVENT)).json()["id"]
    response = await producer.call("DELETE", f"/v1/events/{event}")
    assert response.json() == {"stopped": 0, "already_sent": 0, "in_flight": 0, "unplanned": 2}
    shown = (await producer.get(f"/v1/events/{event}")).json()
    assert shown["cancellation"] == response.json()
    assert len(shown["channels"]) == 2
    assert shown["status"] == "cancelled"
    assert shown["cancelled_at"]
    assert await owner.fetchval("SELECT owed_at FROM carillon.events WHERE id = $1", UUID(event)) is None


async def test_cancelling_stops_what_has_not_left_and_counts_the_rest(
    producer: Producer, world: World, owner: Pool
) -> None:
    event, neighbour = await world.add_event(), await world.add_event()
    await owner.execute("UPDATE carillon.events SET planned_at = now() WHERE id = $1", event)
    ids = await world.add_deliveries(event, world.people, Channel.EMAIL)
    await world.add_deliveries(neighbour, world.people, Channel.EMAIL)
    soon = datetime.now(UTC) + timedelta(hours=1)
    await _set_status(owner, ids[0], "held", hold_reason="throttled")
    await _set_status(owner, ids[1], "retrying", next_attempt_at=soon)
    await _set_status(owner, ids[2], "sent")
    await _set_status(owner, ids[3], "sending", lease_token=1)
    await _set_status(owner, ids[4], "skipped", reason="opted_out")
    await owner.executemany(
        "INSERT INTO carillon.due (delivery_id, due_at, kind) VALUES ($1, $2, $3::text::carillon.due_kind)",
        [(ids[0], soon, "hold"), (ids[1], soon, "retry")],
    )
    for _ in range(2):
        response = await producer.call("DELETE", f"/v1/events/{event}")
        assert response.json() == {"stopped": 3, "already_sent": 1, "in_flight": 1, "unplanned": 0}
    assert await world.statuses(event) == {"cancelled": 3, "sent": 1, "sending": 1, "skipped": 1}
    assert await world.statuses(neighbour) == {"queued": 6}
    assert await owner.fetchval("SELECT count(*) FROM carillon.due") == 0
    reasons = await owner.fetch(
        "SELECT DISTINCT reason::text, hold_reason FROM carillon.deliveries WHERE status = 'cancelled'"
    )
    assert [tuple(row) for row in reasons] == [("cancelled", None)]


async def test_cancelling_goes_through_a_large_audience_piece_by_piece(
    producer: Producer, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carillon_api.events.storage.CANCEL_BATCH", 4)
    event = await world.add_event()
    await world.add_people(25, start=100)
    await world.add_deliveries(event, world.people, Channel.EMAIL)
    response = await producer.call("DELETE", f"/v1/events/{event}")
    assert response.json()["stopped"] == 31


async def test_a_dispatcher_goes_on_where_the_request_left_off(
    producer: Producer, world: World, migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carillon_api.events.storage.CANCEL_BATCH", 4)
    monkeypatch.setattr("carillon_api.events.routes._MOST_AT_ONCE", 8)
    event = await world.add_event()
    await world.add_people(25, start=100)
    await world.add_deliveries(event, world.people, Channel.EMAIL)
    response = await producer.call("DELETE", f"/v1/events/{event}")
    assert response.json()["stopped"] == 31
    assert (await world.statuses(event))["queued"] == 31 - 12
    dispatcher = await migrated.pool("carillon_dispatcher", max_size=1)
    cancellations = Cancellations(dispatcher)
    assert await cancellations.sweep() == 0  # the request may still be at it
    await world.pool.execute("UPDATE carillon.cancellations SET next_at = now()")
    while await cancellations.sweep():
        pass
    await dispatcher.close()
    assert await world.statuses(event) == {"cancelled": 31}
    assert await world.pool.fetchval("SELECT count(*) FROM carillon.cancellations") == 0


async def test_an_event_that_is_over_stays_as_it_is(producer: Producer, world: World, owner: Pool) -> None:
    event = await world.add_event()
    (delivery,) = await world.add_deliveries(event, world.people[:1], Channel.EMAIL)
    await _set_status(owner, delivery, "sent")
    await owner.execute(
        "UPDATE carillon.events SET status = 'completed', planned_at = now() WHERE id = $1", event
    )
    response = await producer.call("DELETE", f"/v1/events/{event}")
    assert response.json() == {"stopped": 0, "already_sent": 1, "in_flight": 0, "unplanned": 0}
    shown = (await producer.get(f"/v1/events/{event}")).json()
    assert (shown["status"], shown["progress"]["percent"]) == ("completed", 100.0)
