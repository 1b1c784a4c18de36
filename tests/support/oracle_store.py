"""Worlds of the oracle as rows, many at once: each is a tenant, and all of them are planned together."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection, Pool
from carillon_shared.domain.channels import Channel
from support.oracle import Decision, Gathering, Limit, Person, Place, World

Row = dict[str, Any]

_TENANTS = """
    INSERT INTO carillon.tenants (
        slug, name, disabled_channels, preferences, default_time_zone, frequency_caps)
    SELECT r.slug, r.slug, ARRAY(SELECT jsonb_array_elements_text(r.disabled))::carillon.channel[],
           r.preferences, r.time_zone, r.caps
    FROM jsonb_to_recordset($1) AS r(slug text, disabled jsonb, preferences jsonb, time_zone text, caps jsonb)
    RETURNING slug, id
"""
_KINDS = """
    INSERT INTO carillon.event_types (
        tenant_id, name, category, channels, mandatory, quiet_hours, throttle, digest, frequency_cap,
        conditions, stop_on_first_success)
    SELECT r.tenant, r.name, r.category, '{inapp,email,whatsapp}', r.mandatory, r.quiet_hours,
           r.throttle, r.digest, r.frequency_cap, nullif(r.conditions, '{}'), r.stops
    FROM jsonb_to_recordset($1) AS r(
        tenant integer, name text, category text, mandatory boolean, quiet_hours text, throttle jsonb,
        digest jsonb, frequency_cap boolean, conditions jsonb, stops boolean)
"""
_PEOPLE = """
    INSERT INTO carillon.subscribers (tenant_id, id, email, phone, time_zone, registered)
    SELECT r.tenant, r.id, r.email, r.phone, r.time_zone, r.registered
    FROM jsonb_to_recordset($1) AS r(
        tenant integer, id text, email text, phone text, time_zone text, registered boolean)
"""
_MEMBERS = """
    INSERT INTO carillon.memberships (tenant_id, kind, name, subscriber)
    SELECT r.tenant, r.kind::carillon.membership_kind, r.name, s.number
    FROM jsonb_to_recordset($1) AS r(tenant integer, person text, kind text, name text)
    JOIN carillon.subscribers s ON s.tenant_id = r.tenant AND s.id = r.person
"""
_CHOICES = """
    INSERT INTO carillon.preferences (tenant_id, subscriber, document)
    SELECT r.tenant, s.number, r.document
    FROM jsonb_to_recordset($1) AS r(tenant integer, person text, document jsonb)
    JOIN carillon.subscribers s ON s.tenant_id = r.tenant AND s.id = r.person
"""
_SUPPRESSIONS = """
    INSERT INTO carillon.suppressions (tenant_id, target, channel, subscriber, reason, expires_at)
    SELECT r.tenant, coalesce(int8send(s.number), carillon.address_digest(r.address)),
           r.channel::carillon.channel, s.number, 'manual', CASE WHEN r.over THEN now() - interval '1 s' END
    FROM jsonb_to_recordset($1) AS r(tenant integer, person text, address text, channel text, over boolean)
    LEFT JOIN carillon.subscribers s ON s.tenant_id = r.tenant AND s.id = r.person
"""
_PARENTS = """
    INSERT INTO carillon.topic_parents (tenant_id, topic, parent)
    SELECT r.tenant, r.topic, r.parent
    FROM jsonb_to_recordset($1) AS r(tenant integer, topic text, parent text)
"""
_SLOTS = """
    INSERT INTO carillon.limit_slots (tenant_id, subscriber, scope, channel, taken)
    SELECT r.tenant, s.number, r.scope, r.channel::carillon.channel,
           ARRAY(SELECT now() - make_interval(secs => a::integer) FROM jsonb_array_elements_text(r.ages) AS a)
    FROM jsonb_to_recordset($1) AS r(tenant integer, person text, scope text, channel text, ages jsonb)
    JOIN carillon.subscribers s ON s.tenant_id = r.tenant AND s.id = r.person
"""
# In order, so that of two events the second has the later id.
_EVENTS = """
    INSERT INTO carillon.events (
        id, tenant_id, type, source, external_id, time, category, lane, channels, data, audience,
        inline_users, actor, status, accepted_at, slots_taken)
    SELECT carillon.new_event_id(clock_timestamp() + r.n * interval '1 microsecond'), r.tenant, r.type,
           '/oracle', r.name, now(), r.category, r.lane::carillon.lane,
           ARRAY(SELECT jsonb_array_elements_text(r.channels))::carillon.channel[], r.data, r.audience,
           nullif(r.inline, '[]'), r.actor, 'accepted', clock_timestamp(), r.slots_taken
    FROM jsonb_to_recordset($1) AS r(
        n integer, tenant integer, type text, name text, category text, lane text, channels jsonb, data jsonb,
        audience jsonb, inline jsonb, actor text, slots_taken boolean)
    ORDER BY r.n
    RETURNING id
"""
_DECIDED = """
    SELECT e.external_id, s.id, d.channel, d.status, d.hold_reason, d.reason, d.next_attempt_at
    FROM carillon.deliveries d
    JOIN carillon.events e ON e.id = d.event_id
    JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
    WHERE d.event_id = ANY ($1)
"""
_PLANNED_AT = "SELECT coalesce(max(created_at), now()) FROM carillon.deliveries WHERE event_id = ANY ($1)"

Planner = Callable[[Sequence[UUID]], Awaitable[None]]


async def store(owner: Pool, worlds: Sequence[World], *, prefix: str) -> list[int]:
    """Write all but the events; returns the tenants' ids, in the order of their worlds."""
    async with owner.acquire() as connection, connection.transaction():
        named = {f"{prefix}-{n}": world for n, world in enumerate(worlds)}
        rows = await connection.fetch(_TENANTS, [_tenant(slug, world) for slug, world in named.items()])
        ids = {row["slug"]: row["id"] for row in rows}
        tenants = [(ids[slug], world) for slug, world in named.items()]
        for statement, rows_of in _PARTS:
            await connection.execute(
                statement, [{"tenant": tenant, **row} for tenant, world in tenants for row in rows_of(world)]
            )
        return [tenant for tenant, _ in tenants]


async def plan(
    owner: Pool, planned: Planner, worlds: Sequence[World], tenants: Sequence[int]
) -> tuple[list[dict[Place, Decision]], list[datetime]]:
    """Plan the worlds' events round by round; returns what became of them, and when that was."""
    found: list[dict[Place, Decision]] = [{} for _ in worlds]
    moments: list[datetime] = []
    for number in range(max(len(world.rounds) for world in worlds)):
        async with owner.acquire() as connection:
            events = await _add_events(connection, worlds, tenants, number)
        await planned(events)
        async with owner.acquire() as connection:
            moments.append(await connection.fetchval(_PLANNED_AT, events))
            for row in await connection.fetch(_DECIDED, events):
                world, event = row["external_id"].split(".")
                place = (number, int(event), row["id"], Channel(row["channel"]))
                verdict = (row["status"], row["hold_reason"], row["reason"], row["next_attempt_at"])
                found[int(world)][place] = Decision(*verdict)
    return found, moments


async def _add_events(
    connection: Connection, worlds: Sequence[World], tenants: Sequence[int], number: int
) -> list[UUID]:
    rows = [
        {"tenant": tenant, "name": f"{place}.{event}", **row}
        for place, (world, tenant) in enumerate(zip(worlds, tenants, strict=True))
        for event, row in enumerate(_events(world, number))
    ]
    async with connection.transaction():
        stored = await connection.fetch(_EVENTS, [{"n": n, **row} for n, row in enumerate(rows)])
    return [row["id"] for row in stored]


def _tenant(slug: str, world: World) -> Row:
    caps: Row = {"categories": {name: _limit(cap) for name, cap in world.caps.items()}}
    if world.cap:
        caps["default"] = _limit(world.cap)
    disabled = [channel.value for channel in world.disabled]
    return {
        "slug": slug,
        "disabled": disabled,
        "preferences": world.defaults,
        "time_zone": world.time_zone,
        "caps": caps,
    }


def _kinds(world: World) -> Iterator[Row]:
    for kind in world.kinds:
        yield {
            "name": kind.name,
            "category": kind.category,
            "mandatory": kind.mandatory,
            "quiet_hours": kind.quiet_hours,
            "throttle": _limit(kind.throttle),
            "digest": _digest(kind.digest),
            "frequency_cap": kind.frequency_cap,
            "conditions": {
                channel.value: {"unless": "seen", "after_seconds": seconds}
                for channel, seconds in kind.conditions.items()
            },
            "stops": kind.stops,
        }


def _limit(limit: Limit | None) -> Row | None:
    if limit is None:
        return None
    channels = [channel.value for channel in limit.channels]
    return {
        "limit": limit.limit,
        "per_seconds": limit.seconds,
        "channels": channels,
        "on_exceed": limit.on_exceed,
    }


def _digest(digest: Gathering | None) -> Row | None:
    if digest is None:
        return None
    return {
        "key": list(digest.key),
        "window": "fixed",
        "seconds": 3600,
        "max_seconds": None,
        "first_at_once": digest.first_at_once,
        "channels": [channel.value for channel in digest.channels],
    }


def _people(world: World) -> Iterator[Row]:
    for person in world.people:
        yield {
            "id": person.id,
            "email": person.email,
            "phone": person.phone,
            "time_zone": person.time_zone,
            "registered": person.registered,
        }


def _members(world: World) -> Iterator[Row]:
    for person in world.people:
        yield from ({"person": person.id, "kind": "role", "name": name} for name in person.roles)
        yield from ({"person": person.id, "kind": "topic", "name": name} for name in person.topics)


def _choices(world: World) -> Iterator[Row]:
    for person in world.people:
        if document := _document(person):
            yield {"person": person.id, "document": document}


def _document(person: Person) -> Row:
    document: Row = dict(person.choices)
    if person.muted:
        document["muted"] = sorted(person.muted)
    if person.quiet:
        document["quiet_hours"] = {"windows": list(person.quiet.windows)}
        if person.quiet.time_zone:
            document["quiet_hours"]["time_zone"] = person.quiet.time_zone
    return document


def _suppressions(world: World) -> Iterator[Row]:
    for person in world.people:
        yield from ({"person": person.id, "channel": channel.value} for channel in person.suppressed)
    for over, addresses in ((False, world.suppressed), (True, world.suppressed_before)):
        for address in addresses:
            channel = Channel.EMAIL if "@" in address else Channel.WHATSAPP
            yield {"address": address, "channel": channel.value, "over": over}


def _parents(world: World) -> Iterator[Row]:
    yield from ({"topic": topic, "parent": parent} for topic, parent in world.parents)


def _slots(world: World) -> Iterator[Row]:
    for one in world.slots:
        yield {
            "person": one.person,
            "scope": one.scope,
            "channel": one.channel.value,
            "ages": one.ages,
        }


def _events(world: World, number: int) -> Iterable[Row]:
    for event in world.rounds[number] if number < len(world.rounds) else ():
        yield {
            "type": event.kind,
            "category": event.category,
            "lane": event.lane.value,
            "channels": [channel.value for channel in event.channels],
            "data": event.data,
            "audience": event.audience,
            "inline": event.inline,
            "actor": event.actor,
            "slots_taken": event.slots_taken,
        }


_PARTS = (
    (_KINDS, _kinds),
    (_PEOPLE, _people),
    (_MEMBERS, _members),
    (_CHOICES, _choices),
    (_SUPPRESSIONS, _suppressions),
    (_PARENTS, _parents),
    (_SLOTS, _slots),
)
