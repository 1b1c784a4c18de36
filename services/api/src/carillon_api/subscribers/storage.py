"""People in the database, always of the current tenant."""

from collections.abc import Mapping
from typing import Any, Literal

from carillon_shared.db.pool import Connection

from carillon_api.subscribers.models import Subscriber, SubscriberBody

MembershipKind = Literal["role", "topic"]

_COLUMNS = """
    s.id, s.email, s.phone, s.locale, s.time_zone, s.attributes, s.created_at, s.updated_at,
    coalesce(array_agg(m.name ORDER BY m.name) FILTER (WHERE m.kind = 'role'), '{}') AS roles,
    coalesce(array_agg(m.name ORDER BY m.name) FILTER (WHERE m.kind = 'topic'), '{}') AS topics"""
_FROM = """
    carillon.subscribers s
    LEFT JOIN carillon.memberships m ON m.tenant_id = s.tenant_id AND m.subscriber = s.number"""

# The condition keeps the row's version, and its updated_at, when nothing is different.
_PUT = """
INSERT INTO carillon.subscribers AS s (tenant_id, id, email, phone, locale, time_zone, attributes)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant_id, id) DO UPDATE SET
    email = excluded.email, phone = excluded.phone, locale = excluded.locale, time_zone = excluded.time_zone,
    attributes = excluded.attributes, registered = true, updated_at = now(),
    created_at = CASE WHEN s.registered THEN s.created_at ELSE now() END
WHERE (s.email, s.phone, s.locale, s.time_zone, s.attributes, s.registered) IS DISTINCT FROM
      (excluded.email, excluded.phone, excluded.locale, excluded.time_zone, excluded.attributes, true)
RETURNING xmax = 0 AS created
"""
_LOCK = "SELECT 1 FROM carillon.subscribers WHERE number = $1 FOR NO KEY UPDATE"
_FORGET = """
UPDATE carillon.subscribers
SET registered = false, email = NULL, phone = NULL, locale = NULL, time_zone = NULL, attributes = '{}',
    updated_at = now()
WHERE id = $1 AND registered RETURNING number
"""


async def put_subscriber(
    connection: Connection, *, tenant_id: int, subscriber: str, body: SubscriberBody
) -> bool:
    """Store a person; true when it is a new one."""
    row = await connection.fetchrow(
        _PUT,
        tenant_id,
        subscriber,
        body.email,
        body.phone,
        body.locale,
        body.time_zone,
        body.attributes,
    )
    return bool(row and row["created"])


async def get_subscriber(connection: Connection, subscriber: str) -> Subscriber | None:
    """Return a registered person with roles and topics."""
    row = await connection.fetchrow(
        f"""SELECT {_COLUMNS} FROM {_FROM} WHERE s.id = $1 AND s.registered
            GROUP BY s.tenant_id, s.number""",
        subscriber,
    )
    return Subscriber.model_validate(dict(row)) if row else None


async def list_subscribers(connection: Connection, *, after: str | None, limit: int) -> list[Subscriber]:
    """Return registered people by id."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM (
                SELECT * FROM carillon.subscribers
                WHERE registered AND ($1::text IS NULL OR id > $1) ORDER BY id LIMIT $2) s
            LEFT JOIN carillon.memberships m ON m.tenant_id = s.tenant_id AND m.subscriber = s.number
            GROUP BY s.id, s.email, s.phone, s.locale, s.time_zone, s.attributes, s.created_at, s.updated_at
            ORDER BY s.id""",
        after,
        limit,
    )
    return [Subscriber.model_validate(dict(row)) for row in rows]


async def delete_subscriber(connection: Connection, subscriber: str) -> bool:
    """Forget a person, their memberships, preferences and stream tickets; false when there is none.

    Number and id stay, unregistered: deliveries that are still on their way end as `unknown_subscriber`
    instead of waiting for ever for somebody who is not there, and what was sent can still be explained.
    """
    await connection.execute("DELETE FROM carillon.stream_tickets WHERE subscriber = $1", subscriber)
    number: int | None = await connection.fetchval(_FORGET, subscriber)
    if number is None:
        return False
    await connection.execute("DELETE FROM carillon.memberships WHERE subscriber = $1", number)
    await connection.execute("DELETE FROM carillon.preferences WHERE subscriber = $1", number)
    return True


async def find_number(connection: Connection, subscriber: str) -> int | None:
    """Return a registered person's number."""
    number: int | None = await connection.fetchval(
        "SELECT number FROM carillon.subscribers WHERE id = $1 AND registered", subscriber
    )
    return number


async def add_member(
    connection: Connection, *, tenant_id: int, kind: MembershipKind, name: str, number: int
) -> None:
    """Give somebody a role or subscribe them to a topic; no harm when it is so already."""
    await connection.execute(
        """INSERT INTO carillon.memberships (tenant_id, kind, name, subscriber)
           VALUES ($1, $2::text::carillon.membership_kind, $3, $4) ON CONFLICT DO NOTHING""",
        tenant_id,
        kind,
        name,
        number,
    )


async def remove_member(connection: Connection, *, kind: MembershipKind, name: str, number: int) -> None:
    """Take a role or topic from somebody; no harm when they have it not."""
    await connection.execute(
        """DELETE FROM carillon.memberships
           WHERE kind = $1::text::carillon.membership_kind AND name = $2 AND subscriber = $3""",
        kind,
        name,
        number,
    )


async def list_members(
    connection: Connection, *, kind: MembershipKind, name: str, after: str | None, limit: int
) -> list[str]:
    """Return the ids of those who have a role or topic."""
    rows = await connection.fetch(
        """SELECT s.id FROM carillon.memberships m
           JOIN carillon.subscribers s ON s.tenant_id = m.tenant_id AND s.number = m.subscriber
           WHERE m.kind = $1::text::carillon.membership_kind AND m.name = $2
             AND ($3::text IS NULL OR s.id > $3)
           ORDER BY s.id LIMIT $4""",
        kind,
        name,
        after,
        limit,
    )
    return [row["id"] for row in rows]


async def get_preferences(connection: Connection, number: int, *, lock: bool = False) -> Mapping[str, Any]:
    """Return what a person chose; with `lock`, nobody else changes it before this transaction ends."""
    if lock:  # the person: there may be no preferences yet
        await connection.execute(_LOCK, number)
    document: Mapping[str, Any] | None = await connection.fetchval(
        "SELECT document FROM carillon.preferences WHERE subscriber = $1", number
    )
    return document or {}


async def put_preferences(
    connection: Connection, *, tenant_id: int, number: int, document: Mapping[str, Any]
) -> None:
    """Replace what a person chose; nothing chosen takes no row."""
    if not document:
        await connection.execute("DELETE FROM carillon.preferences WHERE subscriber = $1", number)
        return
    await connection.execute(
        """INSERT INTO carillon.preferences (tenant_id, subscriber, document) VALUES ($1, $2, $3)
           ON CONFLICT (tenant_id, subscriber)
           DO UPDATE SET document = excluded.document, updated_at = now()""",
        tenant_id,
        number,
        document,
    )
