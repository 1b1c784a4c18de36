"""Event types in the database."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from carillon_shared.db.pool import Connection

from carillon_api.registry.models import EventType, EventTypeBody

_COLUMNS = """name, category, channels::text[], lane::text, mandatory, audience, retry, throttle,
    digest, frequency_cap, conditions, stop_on_first_success,
    coalesce(quiet_hours, 'hold') AS quiet_hours, approval, on_unknown::text, expires_after,
    payload_schema, sender_name, sender_address, reply_to, created_at, updated_at"""

_PUT = f"""
INSERT INTO carillon.event_types AS t (
    tenant_id, name, category, channels, lane, mandatory, audience, retry, throttle, on_unknown,
    expires_after, payload_schema, sender_name, sender_address, reply_to, quiet_hours, approval,
    digest, frequency_cap, conditions, stop_on_first_success)
VALUES ($1, $2, $3, $4::text[]::carillon.channel[], $5::text::carillon.lane, $6, $7, $8, $9,
        $10::text::carillon.unknown_rule, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
ON CONFLICT (tenant_id, name) DO UPDATE SET
    category = excluded.category, channels = excluded.channels, lane = excluded.lane,
    mandatory = excluded.mandatory, audience = excluded.audience, retry = excluded.retry,
    throttle = excluded.throttle, on_unknown = excluded.on_unknown, expires_after = excluded.expires_after,
    payload_schema = excluded.payload_schema,
    sender_name = excluded.sender_name, sender_address = excluded.sender_address,
    reply_to = excluded.reply_to, quiet_hours = excluded.quiet_hours, approval = excluded.approval,
    digest = excluded.digest, frequency_cap = excluded.frequency_cap,
    conditions = excluded.conditions, stop_on_first_success = excluded.stop_on_first_success,
    updated_at = now()
RETURNING {_COLUMNS}, (xmax = 0) AS created
"""


async def put_event_type(
    connection: Connection, *, tenant_id: int, name: str, body: EventTypeBody
) -> tuple[EventType, bool]:
    """Store an event type; true when it is a new one."""
    row = await connection.fetchrow(
        _PUT,
        tenant_id,
        name,
        body.category,
        [channel.value for channel in body.channels],
        body.priority.value,
        body.mandatory,
        body.audience.model_dump(exclude_defaults=True) if body.audience else None,
        {channel.value: policy.stored() for channel, policy in body.retry.items()},
        _stored_throttle(body),
        body.on_unknown,
        None if body.expires_after is None else timedelta(seconds=body.expires_after),
        body.payload_schema,
        body.sender_name,
        body.sender_address,
        body.reply_to,
        body.quiet_hours,
        body.approval,
        _stored_digest(body),
        body.frequency_cap,
        _stored_conditions(body),
        body.stop_on_first_success,
    )
    assert row is not None  # noqa: S101 - an upsert returns its row
    return _event_type(dict(row)), row["created"]


async def get_event_type(connection: Connection, name: str) -> EventType | None:
    """Return one event type of the current tenant."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM carillon.event_types WHERE name = $1", name)
    return _event_type(dict(row)) if row else None


async def list_event_types(connection: Connection, *, after: str | None, limit: int) -> list[EventType]:
    """Return event types by name."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM carillon.event_types
            WHERE $1::text IS NULL OR name > $1 ORDER BY name LIMIT $2""",
        after,
        limit,
    )
    return [_event_type(dict(row)) for row in rows]


async def delete_event_type(connection: Connection, name: str) -> bool:
    """Delete an event type with its templates; false when there is none."""
    status = await connection.execute("DELETE FROM carillon.event_types WHERE name = $1", name)
    return bool(status == "DELETE 1")


def _stored_throttle(body: EventTypeBody) -> dict[str, Any] | None:
    if body.throttle is None:
        return None
    return {
        "limit": body.throttle.limit,
        "per_seconds": round(body.throttle.per),
        "channels": [channel.value for channel in body.throttle.channels or body.channels],
        "on_exceed": body.throttle.on_exceed,
    }


def _stored_digest(body: EventTypeBody) -> dict[str, Any] | None:
    digest = body.digest
    if digest is None:
        return None
    return {
        "key": digest.key.split(".")[1:] if digest.key else [],
        "window": "sliding" if digest.sliding else "fixed",
        "seconds": round(digest.window),
        "max_seconds": None if digest.max_window is None else round(digest.max_window),
        "first_at_once": digest.first_at_once,
        "channels": [channel.value for channel in body.digest_channels],
    }


def _stored_conditions(body: EventTypeBody) -> dict[str, Any] | None:
    return {
        channel.value: {"unless": condition.unless, "after_seconds": round(condition.after)}
        for channel, condition in body.conditions.items()
    } or None


def _event_type(row: Mapping[str, Any]) -> EventType:
    expires_after: timedelta | None = row["expires_after"]
    fields = {key: row[key] for key in EventType.model_fields if key in row}
    return EventType.model_validate(
        fields
        | {
            "type": row["name"],
            "priority": row["lane"],
            "throttle": _read_throttle(row["throttle"]),
            "digest": _read_digest(row["digest"]),
            "conditions": _read_conditions(row["conditions"]),
            "expires_after": None if expires_after is None else expires_after.total_seconds(),
        }
    )


def _read_throttle(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    return {"per" if name == "per_seconds" else name: value for name, value in stored.items()}


def _read_conditions(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        channel: {"unless": condition["unless"], "after": condition["after_seconds"]}
        for channel, condition in (stored or {}).items()
    }


def _read_digest(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    return {
        "key": ".".join(["data", *stored["key"]]) if stored["key"] else None,
        "sliding": stored["window"] == "sliding",
        "window": stored["seconds"],
        "max_window": stored["max_seconds"],
        "first_at_once": stored["first_at_once"],
        "channels": stored["channels"],
    }
