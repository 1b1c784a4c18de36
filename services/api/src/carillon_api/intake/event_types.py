"""The event types that events name, kept in memory for a moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from carillon_shared.clock import Clock
from carillon_shared.content.builtin import MESSAGE
from carillon_shared.db.pool import Pool, tenant_transaction
from carillon_shared.domain.channels import Channel

from carillon_api.intake.payload_schema import PayloadSchema
from carillon_api.ttl_cache import TtlCache

# A changed event type is in use this much later at most.
_KEPT_SECONDS = 2.0

_FIND = """
SELECT category, channels::text[] AS channels, lane::text AS lane, audience, throttle, expires_after,
    payload_schema, approval
FROM carillon.event_types WHERE tenant_id = $1 AND name = $2
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RejectThrottle:
    """A limit that refuses events beyond it: `limit` per person and channel within `per_seconds`."""

    limit: int
    per_seconds: int
    channels: frozenset[str]


@dataclass(frozen=True, slots=True)
class EventType:
    """What intake needs to know of an event type."""

    name: str
    category: str
    channels: tuple[str, ...]
    lane: str
    audience: Mapping[str, Any] | None = None
    reject: RejectThrottle | None = None
    expires_after: timedelta | None = None
    payload: PayloadSchema | None = None
    approval: bool = False  # whether an operator must approve each event
    takes_category: bool = False  # whether events may name their own category


_MESSAGE_DATA = {
    "type": "object",
    "required": ["title", "body"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "body": {"type": "string"},
        "action_url": {"type": ["string", "null"]},
    },
}


def message_type() -> EventType:
    """Return the built-in type, for tenants that have not registered one of that name."""
    return EventType(
        name=MESSAGE,
        category="general",
        channels=tuple(channel.value for channel in Channel),
        lane="normal",
        payload=PayloadSchema(_MESSAGE_DATA),
        takes_category=True,
    )


class _Key(NamedTuple):
    tenant_id: int
    name: str


class EventTypes:
    """The event types of all tenants, as far as events have named them."""

    def __init__(self, pool: Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._message = message_type()
        self._found = TtlCache(self._load, seconds=_KEPT_SECONDS, clock=clock)

    async def find(self, tenant_id: int, name: str) -> EventType | None:
        """Return the type, at most 2 s old; None when the tenant has none of that name."""
        return await self._found.get(_Key(tenant_id, name))

    def forget(self, tenant_id: int, name: str) -> None:
        """Look this type up again next time: it has been changed here."""
        self._found.forget(_Key(tenant_id, name))

    async def _load(self, key: _Key) -> EventType | None:
        async with tenant_transaction(self._pool, key.tenant_id) as connection:
            row = await connection.fetchrow(_FIND, key.tenant_id, key.name)
        if row is not None:
            return _event_type(key, dict(row))
        return self._message if key.name == MESSAGE else None


def _event_type(key: _Key, row: Mapping[str, Any]) -> EventType:
    return EventType(
        name=key.name,
        category=row["category"],
        channels=tuple(row["channels"]),
        lane=row["lane"],
        audience=row["audience"],
        reject=_reject(row["throttle"]),
        expires_after=row["expires_after"],
        payload=_payload(key, row["payload_schema"]),
        approval=row["approval"],
        takes_category=key.name == MESSAGE,
    )


def _reject(throttle: Mapping[str, Any] | None) -> RejectThrottle | None:
    if throttle is None or throttle.get("on_exceed") != "reject":
        return None
    channels = throttle.get("channels") or [channel.value for channel in Channel]
    return RejectThrottle(throttle["limit"], throttle["per_seconds"], frozenset(channels))


def _payload(key: _Key, schema: Mapping[str, Any] | None) -> PayloadSchema | None:
    if schema is None:
        return None
    try:
        return PayloadSchema(schema)
    except ValueError as error:
        # It was checked when it was registered; refusing every event of the type would help nobody.
        log.warning("payload schema cannot be used", event_type=key.name, error=str(error))
        return None
