"""Events as intake leaves them, waiting to be planned."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
from carillon_dispatcher.planning.rows import Verdict
from carillon_dispatcher.planning.store import PlanStore
from carillon_shared.broker import Incoming, NotConnectedError, Outgoing, PublishResult
from carillon_shared.consumer import Received
from carillon_shared.contracts.messages import EventAccepted, Message, WorkChunk
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import Reason
from support.migrated import MigratedDatabase
from support.world import World, make_world

TYPE = "ticket.changed"
CATEGORY = "tickets"

Decisions = dict[tuple[str, Channel], Reason | None]

_EVENT = """
    WITH key AS (SELECT carillon.new_event_id(clock_timestamp()) AS id)
    INSERT INTO carillon.events (
        id, tenant_id, type, source, external_id, time, category, lane, channels, data, audience,
        inline_users, actor, status, accepted_at, deliver_at, expires_at, owed_at, slots_taken)
    SELECT key.id, $1, $2, '/test', key.id::text, now(), $3, $4::text::carillon.lane,
           $5::text[]::carillon.channel[], '{}', $6, $7, $8, $9::text::carillon.event_status,
           clock_timestamp(), $10, $11, coalesce($10, now() + interval '10 seconds'), $12
    FROM key RETURNING id
"""
_DECISIONS = """
    SELECT s.id, d.channel, d.status, d.reason FROM carillon.deliveries d
    JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
    WHERE d.event_id = $1
"""


@dataclass(slots=True)
class Planning:
    """A database with one tenant: rows are made as its owner, planning is done as the dispatcher."""

    world: World
    dispatcher: Pool
    store: PlanStore

    @property
    def owner(self) -> Pool:
        """The pool that may do anything."""
        return self.world.pool

    async def add_type(self, name: str = TYPE, **columns: Any) -> None:
        """Register an event type; `columns` beside its key."""
        given = {"channels": ["inapp", "email", "whatsapp"], "category": CATEGORY} | columns
        names = ", ".join(given)
        places = ", ".join(
            f"${n}{'::text[]::carillon.channel[]' if column == 'channels' else ''}"
            f"{'::text::carillon.unknown_rule' if column == 'on_unknown' else ''}"
            for n, column in enumerate(given, start=3)
        )
        await self.owner.execute(
            f"INSERT INTO carillon.event_types (tenant_id, name, {names}) VALUES ($1, $2, {places})",
            self.world.tenant_id,
            name,
            *given.values(),
        )

    async def add_event(
        self,
        audience: Mapping[str, Any],
        *,
        channels: Sequence[Channel] = (Channel.INAPP,),
        lane: Lane = Lane.NORMAL,
        inline: Sequence[Mapping[str, Any]] = (),
        status: str = "accepted",
        **columns: Any,
    ) -> UUID:
        """Store an accepted event; `columns`: actor, deliver_at, expires_at, slots_taken."""
        value = await self.owner.fetchval(
            _EVENT,
            self.world.tenant_id,
            TYPE,
            CATEGORY,
            lane.value,
            [channel.value for channel in channels],
            dict(audience),
            list(inline) or None,
            columns.get("actor"),
            status,
            columns.get("deliver_at"),
            columns.get("expires_at"),
            columns.get("slots_taken", False),
        )
        return UUID(str(value))

    async def plan(self, *events: UUID) -> list[Verdict]:
        """Plan small events in one call; returns the verdicts in the order asked."""
        verdicts = await self.store.plan_events(events)
        return [verdicts[event] for event in events]

    async def decisions(self, event: UUID) -> Decisions:
        """Return why each of the event's deliveries is not sent; None: it is queued."""
        rows = await self.owner.fetch(_DECISIONS, event)
        for row in rows:
            assert row["status"] == ("queued" if row["reason"] is None else "skipped"), row
        return {
            (row["id"], Channel(row["channel"])): Reason(row["reason"]) if row["reason"] else None
            for row in rows
        }

    async def event(self, event: UUID) -> asyncpg.Record:
        """Return an event's row."""
        row = await self.owner.fetchrow("SELECT * FROM carillon.events WHERE id = $1", event)
        assert row is not None
        return row

    async def rows(self, event: UUID) -> list[asyncpg.Record]:
        """Return an event's deliveries, in the order of their ids."""
        return await self.owner.fetch(
            "SELECT * FROM carillon.deliveries WHERE event_id = $1 ORDER BY id", event
        )

    async def statuses(self, *events: UUID) -> dict[str, int]:
        """Return how many deliveries of these events are in each state."""
        rows = await self.owner.fetch(
            """SELECT status::text AS s, count(*) AS n FROM carillon.deliveries
            WHERE event_id = ANY ($1) GROUP BY 1""",
            list(events),
        )
        return {row["s"]: row["n"] for row in rows}


@asynccontextmanager
async def planning_in(
    database: MigratedDatabase, *, people: int = 0, range_size: int = 5000, slug: str = "acme"
) -> AsyncIterator[Planning]:
    """Make a tenant with so many people, and plan for it."""
    owner = await database.pool()
    dispatcher = await database.pool("carillon_dispatcher")
    try:
        world = await make_world(owner, slug=slug, people=people)
        yield Planning(world, dispatcher, PlanStore(dispatcher, range_size=range_size))
    finally:
        await dispatcher.close()
        await owner.close()


@dataclass(slots=True)
class RecordingPublisher:
    """Takes messages as the broker would; `away` makes it lose them."""

    published: list[Outgoing] = field(default_factory=list)
    calls: int = 0
    away: bool = False

    @property
    def connected(self) -> bool:
        """True while it takes messages."""
        return not self.away

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Take all or none."""
        self.calls += 1
        if self.away:
            return [NotConnectedError(outgoing.message_id, "away") for outgoing in outgoings]
        self.published += outgoings
        return [None] * len(outgoings)

    def chunks(self) -> list[WorkChunk]:
        """Return the work messages among what was published."""
        return [one.message for one in self.published if isinstance(one.message, WorkChunk)]

    def delivery_ids(self) -> list[UUID]:
        """Return every delivery id that was published, as often as it was."""
        return [delivery for chunk in self.chunks() for delivery in chunk.delivery_ids]


def received(*messages: Message) -> list[Received]:
    """Return these messages as a handler gets them."""
    return [
        Received(
            message,
            Incoming(
                body=b"",
                type=message.TYPE,
                message_id=str(tag),
                headers={},
                exchange="",
                routing_key="",
                redelivered=False,
                published_at=None,
                delivery_tag=tag,
                generation=1,
            ),
        )
        for tag, message in enumerate(messages, start=1)
    ]


def accepted(event: UUID, *, lane: Lane = Lane.NORMAL) -> EventAccepted:
    """Return the message that announces an event."""
    return EventAccepted(event_id=event, tenant="acme", event_type=TYPE, lane=lane)
