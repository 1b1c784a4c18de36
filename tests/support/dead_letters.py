"""Deliveries that are dead, and what operators asked for."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from carillon_shared.domain.channels import Channel
from support.world import World

_BURY = """
    SELECT carillon.bury(
        $1::uuid[], array_fill(3::smallint, ARRAY[$2::integer]), array_fill($3::text, ARRAY[$2::integer]),
        array_fill('550'::text, ARRAY[$2::integer]), array_fill('no'::text, ARRAY[$2::integer]),
        array_fill($4::text, ARRAY[$2::integer]), 'smtp', $5, $6)
"""
_OPERATION = """
    INSERT INTO carillon.operations (tenant_id, kind, filter, reason, actor, rate_per_second, matched)
    VALUES ($1, $2, $3, 'the cause is mended', 'key:test', $4, 0) RETURNING id
"""


@dataclass(slots=True)
class Graveyard:
    """One tenant's dead letters, written as the database's owner. Each has made three attempts."""

    world: World

    async def bury(
        self,
        *,
        people: int = 1,
        channel: Channel = Channel.EMAIL,
        event_type: str = "message",
        reason: str = "provider_rejected",
        expires_at: datetime | None = None,
    ) -> tuple[UUID, list[UUID]]:
        """Return a completed event and its dead deliveries, to the first so many people."""
        event = await self.world.add_event(type_name=event_type, channels=[channel])
        ids = await self.world.add_deliveries(event, self.world.people[:people], channel)
        await self.world.pool.execute(_BURY, ids, len(ids), reason, event_type, min(ids), max(ids))
        await self.world.pool.execute(
            "UPDATE carillon.events SET status = 'completed', published_at = now(), expires_at = $2 "
            "WHERE id = $1",
            event,
            expires_at,
        )
        return event, ids

    async def ask(self, kind: str, *, rate: int = 1000, **selection: Any) -> UUID:
        """Begin an operation as an operator does; returns its id."""
        chosen = json.loads(json.dumps(selection, default=str))
        value = await self.world.pool.fetchval(_OPERATION, self.world.tenant_id, kind, chosen, rate)
        return UUID(str(value))

    async def operation(self, identifier: UUID) -> asyncpg.Record:
        """Return an operation's row."""
        row = await self.world.pool.fetchrow("SELECT * FROM carillon.operations WHERE id = $1", identifier)
        assert row is not None
        return row

    async def delivery(self, identifier: UUID) -> asyncpg.Record:
        """Return a delivery's row."""
        row = await self.world.pool.fetchrow("SELECT * FROM carillon.deliveries WHERE id = $1", identifier)
        assert row is not None
        return row

    async def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(await self.world.pool.fetchval(f"SELECT count(*) FROM carillon.{table}"))
