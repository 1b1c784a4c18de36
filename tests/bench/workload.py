"""The rows and messages a drain works through."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from carillon_shared.broker.outgoing import Outgoing
from carillon_shared.broker.session import BrokerSession
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import WORK, work_routing_key

TENANT = "bench"
CHUNK = 200

_FLOOR_TABLE = """
    CREATE SCHEMA bench;
    CREATE TABLE bench.status (
        id uuid PRIMARY KEY, event_id uuid NOT NULL, tenant text NOT NULL, channel text NOT NULL,
        attempt smallint NOT NULL, at timestamptz NOT NULL DEFAULT now());
"""
_PEOPLE = """
    INSERT INTO carillon.subscribers (tenant_id, id, email, phone, locale, attributes)
    SELECT $1, 'user-' || n, 'user-' || n || '@example.org', '+1202' || lpad(n::text, 7, '0'), 'en',
           jsonb_build_object('name', 'User ' || n)
    FROM generate_series(1, $2::integer) AS n
    RETURNING number
"""
_EVENTS = """
    INSERT INTO carillon.events (id, tenant_id, type, source, external_id, subject, time, category, lane,
                                 channels, data, audience, status, accepted_at)
    SELECT carillon.new_event_id(clock_timestamp()), $1, 'message', '/bench', 'e-' || n, 'tickets/' || n,
           now(), 'general', $3::text::carillon.lane, '{email}', $4, '{"everyone": true}', 'dispatched', now()
    FROM generate_series(1, $2::integer) AS n
    RETURNING id
"""
_DELIVERIES = """
    INSERT INTO carillon.deliveries (id, event_id, subscriber, tenant_id, channel, lane, status)
    SELECT carillon.delivery_id(carillon.delivery_prefix(d.event_id), d.subscriber, 'email'), d.event_id,
           d.subscriber, $1, 'email', $2::text::carillon.lane, 'queued'
    FROM unnest($3::uuid[], $4::bigint[]) AS d(event_id, subscriber)
    ORDER BY 1
    RETURNING id, event_id
"""
_CLEAR = """
    TRUNCATE carillon.events, carillon.deliveries, carillon.attempts, carillon.leases, carillon.due,
             carillon.dead_letters, bench.status
"""
_SETTLE_DOWN = ("ANALYZE carillon.events, carillon.deliveries", "CHECKPOINT")
# About 650 bytes of JSON, as in the survey that the goals come from.
_DATA: dict[str, Any] = {
    "title": "Ticket 4711 was answered",
    "body": "The help desk has written to you about your ticket.\nPlease have a look at it soon. " * 5,
    "action_url": "https://desk.example.org/tickets/4711",
    "ticket": {"id": 4711, "status": "waiting", "labels": ["network", "printer"]},
}


@dataclass(frozen=True, slots=True)
class Workload:
    """One tenant with people in a migrated database, and the broker."""

    pool: Pool  # as the owner
    superuser: "asyncpg.Connection[asyncpg.Record]"
    session: BrokerSession
    tenant_id: int
    people: Sequence[int]  # subscriber numbers

    async def load(self, deliveries: int, *, chunk: int, lane: Lane) -> list[WorkChunk]:
        """Replace all rows by so many queued deliveries; return the messages that ask for them.

        A chunk of one stands for an event to one person; larger ones are of one event to everybody.
        """
        await self.clear()
        many = deliveries if chunk == 1 else 1
        made = await self.superuser.fetch(_EVENTS, self.tenant_id, many, lane.value, json.dumps(_DATA))
        events = [row["id"] for row in made] * (deliveries // many)
        people = self.people[:deliveries]
        rows = await self.superuser.fetch(_DELIVERIES, self.tenant_id, lane.value, events, people)
        for statement in _SETTLE_DOWN:
            await self.superuser.execute(statement)
        return [_chunk(rows[n : n + chunk], lane) for n in range(0, len(rows), chunk)]

    async def clear(self) -> None:
        """Remove what the last run left."""
        await self.superuser.execute(_CLEAR)

    async def publish(self, chunks: Sequence[WorkChunk], *, queue: str | None = None) -> None:
        """Publish to the work exchange, or to one queue directly. Raises the first `PublishError`."""
        results = await self.session.publisher.publish_many(list(_outgoings(chunks, queue)))
        for result in results:
            if result is not None:
                raise result


def _chunk(rows: Sequence[asyncpg.Record], lane: Lane) -> WorkChunk:
    return WorkChunk(
        event_id=UUID(str(rows[0]["event_id"])),
        tenant=TENANT,
        channel=Channel.EMAIL,
        lane=lane,
        attempt=1,
        delivery_ids=[UUID(str(row["id"])) for row in rows],
    )


def _outgoings(chunks: Sequence[WorkChunk], queue: str | None) -> Iterator[Outgoing]:
    for chunk in chunks:
        exchange, key = ("", queue) if queue else (WORK.name, work_routing_key(chunk.channel, chunk.lane))
        yield Outgoing(exchange, key, chunk, str(chunk.delivery_ids[0]))


async def make_workload(
    pool: Pool, superuser: "asyncpg.Connection[asyncpg.Record]", session: BrokerSession, *, people: int
) -> Workload:
    """Create the tenant, its people and the floor's table."""
    await pool.execute(_FLOOR_TABLE)
    tenant_id = await pool.fetchval(
        "INSERT INTO carillon.tenants (slug, name) VALUES ($1, 'Bench') RETURNING id", TENANT
    )
    rows = await superuser.fetch(_PEOPLE, tenant_id, people)
    await superuser.execute("ANALYZE carillon.subscribers, carillon.tenants")
    async with asyncio.timeout(30):
        await session.publisher.wait_connected()
    return Workload(pool, superuser, session, int(tenant_id), [row["number"] for row in rows])
