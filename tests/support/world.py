"""Rows that tests need before anything can be delivered, written as the database's owner."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.ids import delivery_id

_EVENT = """
    WITH key AS (SELECT carillon.new_event_id(clock_timestamp()) AS id)
    INSERT INTO carillon.events (id, tenant_id, type, source, external_id, time, category, lane, channels,
                                 data, audience, status, accepted_at)
    SELECT key.id, $1, $2, '/test', key.id::text, now(), 'general', $3::text::carillon.lane,
           $4::text[]::carillon.channel[], $5, $6, 'dispatched', now()
    FROM key RETURNING id
"""
_DELIVERIES = """
    INSERT INTO carillon.deliveries (id, event_id, subscriber, tenant_id, channel, lane, status)
    SELECT d.id, $2, d.subscriber, $3, $4::text::carillon.channel, $5::text::carillon.lane, 'queued'
    FROM unnest($1::uuid[], $6::bigint[]) AS d(id, subscriber)
"""


@dataclass(slots=True)
class World:
    """One tenant with people, in a migrated database."""

    pool: Pool
    tenant_id: int
    slug: str
    people: list[int] = field(default_factory=list)  # subscriber numbers

    async def add_people(self, count: int, *, start: int = 1) -> list[int]:
        """Register people named `u-<n>` with an address on every channel; returns their numbers."""
        rows = await self.pool.fetch(
            """
            INSERT INTO carillon.subscribers (tenant_id, id, email, phone)
            SELECT $1, 'u-' || n, 'u-' || n || '@example.org', '+1202555' || lpad(n::text, 4, '0')
            FROM generate_series($2::integer, $3::integer) AS n ORDER BY n RETURNING number
            """,
            self.tenant_id,
            start,
            start + count - 1,
        )
        numbers = [int(row["number"]) for row in rows]
        self.people += numbers
        return numbers

    async def add_event(
        self,
        *,
        type_name: str = "message",
        lane: Lane = Lane.NORMAL,
        channels: list[Channel] | None = None,
        data: dict[str, Any] | None = None,
    ) -> UUID:
        """Store an event that is planned already; returns its id."""
        value = await self.pool.fetchval(
            _EVENT,
            self.tenant_id,
            type_name,
            lane.value,
            [channel.value for channel in channels or [Channel.EMAIL]],
            data if data is not None else {"title": "Hello", "body": "There"},
            {"everyone": True},
        )
        return UUID(str(value))

    async def add_deliveries(
        self, event: UUID, people: list[int], channel: Channel, lane: Lane = Lane.NORMAL
    ) -> list[UUID]:
        """Store queued deliveries of an event to these people over one channel; returns their ids."""
        ids = [delivery_id(event, number, channel) for number in people]
        await self.pool.execute(_DELIVERIES, ids, event, self.tenant_id, channel.value, lane.value, people)
        return ids

    async def statuses(self, event: UUID) -> dict[str, int]:
        """Return how many deliveries of an event are in each state."""
        rows = await self.pool.fetch(
            "SELECT status::text AS s, count(*) AS n FROM carillon.deliveries WHERE event_id = $1 GROUP BY 1",
            event,
        )
        return {row["s"]: row["n"] for row in rows}


async def make_world(pool: Pool, *, slug: str = "acme", people: int = 0) -> World:
    """Create a tenant, with so many people."""
    tenant_id = await pool.fetchval(
        "INSERT INTO carillon.tenants (slug, name) VALUES ($1, $1) RETURNING id", slug
    )
    world = World(pool, int(tenant_id), slug)
    if people:
        await world.add_people(people)
    return world
