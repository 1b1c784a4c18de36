"""The API while its database or its broker is away, and the fast path while both are there."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from carillon_local.database import prepare_database
from carillon_local.postgres import PostgresServer
from carillon_local.secrets import Secrets
from carillon_shared.broker import BrokerSession, declare
from carillon_shared.contracts.codec import decode
from carillon_shared.contracts.messages import EventAccepted
from carillon_shared.db.migrate import migrate
from carillon_shared.db.pool import open_pool
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import DISPATCH_WINDOW, dispatch_queue
from httpx2 import Response
from support.events_api import Api, Producer, make_producer, open_api
from support.migrated import MigratedDatabase
from support.waiting import eventually

_EVENT: dict[str, Any] = {"type": "ticket.changed", "data": {"owner": "u-7"}}


def _is_unavailable(response: Response) -> bool:
    return bool(
        response.status_code == 503
        and response.headers["content-type"] == "application/problem+json"
        and int(response.headers["retry-after"]) > 0
    )


async def _database_of(server: PostgresServer) -> tuple[str, str]:
    """Make a migrated database on a server of one's own; returns its URL for the API and for the owner."""
    secrets = Secrets()
    await prepare_database(server.superuser_url, "carillon", secrets)
    api, owner = (
        secrets.database_url(role, port=server.port, database="carillon")
        for role in ("carillon_api", "carillon_owner")
    )
    await migrate(owner)
    return api, owner


async def test_without_its_database_the_api_answers_503_and_recovers_by_itself(
    own_postgres: PostgresServer,
) -> None:
    url, owner_url = await _database_of(own_postgres)
    async with open_api(url) as api:
        owner = await open_pool(owner_url, name="test")
        producer = await make_producer(api, owner)
        await owner.close()
        before = await producer.post(_EVENT | {"id": "before"})
        assert before.status_code == 202
        await asyncio.to_thread(own_postgres.stop)
        event = before.json()["id"]
        for response in await asyncio.gather(
            producer.post(_EVENT | {"id": "during"}),
            producer.post([_EVENT | {"id": "during"}]),
            producer.get(f"/v1/events/{event}"),
            producer.get("/v1/deliveries"),
        ):
            assert _is_unavailable(response), response.text
        assert (await api.http.get("/livez")).status_code == 200
        assert (await api.http.get("/readyz")).status_code == 503
        await asyncio.to_thread(own_postgres.start)

        async def accepted_again() -> Response | None:
            response = await producer.post(_EVENT | {"id": "during"})
            return response if response.status_code == 202 else None

        after = await eventually(accepted_again, seconds=20, what="the database to be used again")
        assert after is not None
        assert after.json()["duplicate"] is False, "nothing of the refused request was stored"
        assert (await producer.post(_EVENT | {"id": "before"})).json()["duplicate"] is True
        assert (await api.http.get("/readyz")).status_code == 200


async def test_the_api_starts_without_its_database(own_postgres: PostgresServer) -> None:
    url, owner_url = await _database_of(own_postgres)
    await asyncio.to_thread(own_postgres.stop)
    async with open_api(url) as api:
        key = {"Authorization": "Bearer ck_abcdefgh_0123456789abcdef"}
        assert _is_unavailable(await api.http.post("/v1/events", json=_EVENT, headers=key))
        await asyncio.to_thread(own_postgres.start)
        owner = await open_pool(owner_url, name="test")
        producer = await make_producer(api, owner)
        await owner.close()
        assert (await producer.post(_EVENT)).status_code == 202


async def test_connections_that_break_under_a_flush_lose_and_double_nothing(
    migrated: MigratedDatabase,
) -> None:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        producer = await make_producer(api, owner)
        stop = asyncio.Event()
        breaking = asyncio.create_task(_break_connections(migrated, stop))
        accepted: dict[str, str] = {}
        for round_ in range(6):
            names = [f"{round_}-{n}" for n in range(20)]
            answers = await asyncio.gather(*(_post_until_accepted(producer, name) for name in names))
            accepted |= dict(zip(names, answers, strict=True))
        stop.set()
        assert await breaking > 0, "no connection was broken"
    rows = await owner.fetch("SELECT id, external_id FROM carillon.events")
    assert {row["external_id"]: str(row["id"]) for row in rows} == accepted
    assert len(rows) == 120
    await owner.close()


async def _break_connections(migrated: MigratedDatabase, stop: asyncio.Event) -> int:
    connection = await asyncpg.connect(migrated.service.superuser_url)
    broken = 0
    while not stop.is_set():
        broken += await connection.fetchval(
            """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = $1 AND query LIKE '%accept_events%' AND pid <> pg_backend_pid()""",
            migrated.name,
        )
        await asyncio.sleep(0.05)
    await connection.close()
    return broken


async def _post_until_accepted(producer: Producer, name: str) -> str:
    async def accepted() -> str | None:
        response = await producer.post(_EVENT | {"id": name})
        assert response.status_code in {202, 503}, response.text
        return response.json()["id"] if response.status_code == 202 else None

    event_id = await eventually(accepted, seconds=20, what=f"{name} to be accepted")
    assert event_id is not None
    return event_id


async def test_a_moment_without_partition_is_our_fault_and_not_the_events(migrated: MigratedDatabase) -> None:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        producer = await make_producer(api, owner)
        partitions = await owner.fetch(
            """SELECT inhrelid::regclass::text AS name FROM pg_inherits
               WHERE inhparent = 'carillon.events'::regclass"""
        )
        for partition in partitions:
            await owner.execute(f"ALTER TABLE carillon.events DETACH PARTITION {partition['name']}")
        assert _is_unavailable(await producer.post(_EVENT | {"id": "1"}))
        assert await owner.fetchval("SELECT count(*) FROM carillon.event_keys") == 0
    await owner.close()


async def test_without_a_broker_events_are_accepted_and_owed(migrated: MigratedDatabase) -> None:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api")) as api:
        producer = await make_producer(api, owner)
        assert (await producer.post(_EVENT)).status_code == 202
        ready = await api.http.get("/readyz?verbose")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["checks"]["database"] == "ok"
        assert ready.json()["checks"]["broker"] != "ok"
    assert await owner.fetchval("SELECT count(*) FROM carillon.events WHERE owed_at IS NOT NULL") == 1
    await owner.close()


async def _publishing(migrated: MigratedDatabase, api: Api) -> Producer:
    await api.services.broker.wait_connected()
    async with asyncio.timeout(20):
        await api.services.broker.publisher.wait_connected()
    owner = await migrated.pool()
    producer = await make_producer(api, owner)
    await owner.close()
    return producer


async def test_with_a_broker_events_are_published_once_and_marked(
    migrated: MigratedDatabase, broker_url: str
) -> None:
    await declare(broker_url)
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api"), broker_url=broker_url) as api:
        producer = await _publishing(migrated, api)
        lanes = ("normal", "critical")
        batch = [_EVENT | {"id": str(n), "priority": lanes[n % 2]} for n in range(DISPATCH_WINDOW)]
        answer = (await producer.post(batch)).json()["data"]
        await producer.post(batch[0])  # a duplicate is not published again
        later = await owner.fetchval("SELECT (now() + interval '1 day')")
        await producer.post(_EVENT | {"id": "later", "deliver_at": later.isoformat()})

        async def nothing_owed() -> bool:
            count = "SELECT count(*) FROM carillon.events WHERE owed_at IS NOT NULL AND status = 'accepted'"
            return bool(await owner.fetchval(count) == 0)

        await eventually(nothing_owed, seconds=9, what="all events to be marked, before the relay owes them")
    half = DISPATCH_WINDOW // 2
    published = await _take(broker_url, Lane.NORMAL, half) + await _take(broker_url, Lane.CRITICAL, half)
    assert sorted(str(message.event_id) for message in published) == sorted(item["id"] for item in answer)
    assert {(message.tenant, message.event_type) for message in published} == {("acme", "ticket.changed")}
    assert await owner.fetchval("SELECT count(*) FROM carillon.events WHERE owed_at IS NOT NULL") == 1
    await owner.close()


async def _take(broker_url: str, lane: Lane, count: int) -> list[EventAccepted]:
    """Return exactly so many messages of a dispatch queue, which then holds no more."""
    taken: list[EventAccepted] = []
    async with BrokerSession(broker_url, name="test") as session:
        subscription = session.subscribe(dispatch_queue(lane), prefetch=count + 10)
        async with asyncio.timeout(20):
            while len(taken) < count:
                for incoming in await subscription.take(count + 10):
                    message = decode(incoming.type, incoming.body)
                    assert isinstance(message, EventAccepted)
                    assert incoming.message_id == str(message.event_id)
                    assert message.lane is lane
                    taken.append(message)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await subscription.take(1)
    assert len(taken) == count
    return taken


async def test_without_its_queues_the_broker_gets_nothing_marked(
    migrated: MigratedDatabase, broker_url: str
) -> None:
    owner = await migrated.pool()
    async with open_api(migrated.url("carillon_api"), broker_url=broker_url) as api:
        async with asyncio.timeout(20):
            await api.services.broker.publisher.wait_connected()
        producer = await make_producer(api, owner)
        accepted = await producer.post(_EVENT)
        assert accepted.status_code == 202
    event_id = UUID(accepted.json()["id"])
    assert await owner.fetchval("SELECT owed_at IS NOT NULL FROM carillon.events WHERE id = $1", event_id)
    await owner.close()
