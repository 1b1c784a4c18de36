"""Events, types and templates, read once for everybody who needs them at the moment."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from carillon_shared.clock import Clock
from carillon_shared.content.builtin import DIGEST, builtin_templates
from carillon_shared.content.layouts import with_layouts
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.delivery.work import EventWork
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import EventContent, TenantProfile
from carillon_shared.retry.policy import policy_for

_EVENTS = """
    SELECT e.id, e.tenant_id, e.type, e.category, e.source, e.subject, e.time, e.data,
           e.feed_event IS NOT NULL AS renews, e.deliver_at IS NOT NULL AS timed,
           t.slug, t.name, t.default_locale, t.default_time_zone, t.sender_name, t.sender_address, t.reply_to,
           t.brand
    FROM carillon.events e JOIN carillon.tenants t ON t.id = e.tenant_id
    WHERE e.id = ANY ($1) AND e.id BETWEEN $2 AND $3
"""
_TYPES = """
    SELECT y.tenant_id, y.name, y.retry, y.mandatory, y.sender_name, y.sender_address, y.reply_to,
           (SELECT jsonb_object_agg(c.locale, c.content)
            FROM (SELECT DISTINCT ON (m.locale) m.locale, m.content FROM carillon.templates m
                  WHERE m.tenant_id = y.tenant_id AND m.event_type = y.name
                    AND m.channel = $3::text::carillon.channel
                  ORDER BY m.locale, m.version DESC) AS c) AS templates,
           (SELECT jsonb_object_agg(l.locale, jsonb_build_object('html', l.html, 'text', l.text))
            FROM carillon.layouts l WHERE l.tenant_id = y.tenant_id AND $3 = 'email') AS layouts,
           (SELECT t.default_locale FROM carillon.tenants t WHERE t.id = y.tenant_id) AS default_locale
    FROM unnest($1::integer[], $2::text[]) AS wanted(tenant_id, name)
    JOIN carillon.event_types y ON y.tenant_id = wanted.tenant_id AND y.name = wanted.name
"""
_TYPE_SECONDS = 2.0
_MAX_TYPES = 10_000

_TypeKey = tuple[int, str]


class _Type:
    """An event type as this channel needs it."""

    def __init__(self, row: asyncpg.Record | None, *, name: str, channel: Channel, read_at: float) -> None:
        self.read_at = read_at
        self.templates = _templates(row, name=name, channel=channel)
        self.policy = policy_for(row["retry"] if row else {}, channel)
        self.sender_name = row["sender_name"] if row else None
        self.sender_address = row["sender_address"] if row else None
        self.reply_to = row["reply_to"] if row else None
        self.mandatory = bool(row and row["mandatory"])


class Catalogue:
    """Reads what messages are made of, for one channel. Types are kept for two seconds.

    Not for what is tried again: whoever mends a template and replays its dead letters at once would see them
    die of the old one.
    """

    def __init__(self, pool: Pool, *, channel: Channel, clock: Clock) -> None:
        self._pool = pool
        self._channel = channel
        self._clock = clock
        self._types: dict[_TypeKey, _Type] = {}

    async def load(
        self, event_ids: Collection[UUID], *, again: Collection[UUID] = ()
    ) -> dict[UUID, EventWork]:
        """Return these events; one that no longer exists is missing. Raises what asyncpg raises.

        `again` names those among them of which something was tried before: their types are read anew.
        """
        if not event_ids:
            return {}
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_EVENTS, list(event_ids), min(event_ids), max(event_ids))
            now = self._clock.monotonic()
            keys = {key for row in rows for key in _type_keys(row)}
            anew = {key for row in rows if row["id"] in again for key in _type_keys(row)}
            missing = [key for key in keys if key in anew or not self._is_fresh(key, now)]
            if missing:
                await self._read_types(connection, missing, now)
        tenants: dict[int, TenantProfile] = {}
        return {row["id"]: self._event(row, tenants) for row in rows}

    def _is_fresh(self, key: _TypeKey, now: float) -> bool:
        known = self._types.get(key)
        return known is not None and now - known.read_at < _TYPE_SECONDS

    async def _read_types(
        self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", keys: list[_TypeKey], now: float
    ) -> None:
        if len(self._types) > _MAX_TYPES:
            self._types.clear()
        tenants, names = [key[0] for key in keys], [key[1] for key in keys]
        rows = await connection.fetch(_TYPES, tenants, names, self._channel.value)
        found = {(row["tenant_id"], row["name"]): row for row in rows}
        for key in keys:
            self._types[key] = _Type(found.get(key), name=key[1], channel=self._channel, read_at=now)

    def _event(self, row: asyncpg.Record, tenants: dict[int, TenantProfile]) -> EventWork:
        key, *items = _type_keys(row)
        kind = self._types[key]
        tenant = tenants.get(row["tenant_id"])
        if tenant is None:
            tenant = tenants[row["tenant_id"]] = _tenant(row)
        content = EventContent(
            id=row["id"],
            tenant=tenant,
            type=row["type"],
            category=row["category"],
            source=row["source"],
            subject=row["subject"],
            time=row["time"],
            data=row["data"],
            sender_name=kind.sender_name,
            sender_address=kind.sender_address,
            reply_to=kind.reply_to,
            mandatory=kind.mandatory,
            renews=row["renews"],
            timed=row["timed"],
        )
        titles = {name: self._types[tenant_id, name].templates for tenant_id, name in items} or None
        return EventWork(content, kind.templates, kind.policy, titles)


def _type_keys(row: asyncpg.Record) -> list[_TypeKey]:
    """Return the type an event is written with, and for a digest of several types those of its items.

    A digest of one type is written, retried and signed as that type is.
    """
    tenant_id, name = row["tenant_id"], row["type"]
    if name != DIGEST:
        return [(tenant_id, name)]
    if own := row["data"].get("type"):
        return [(tenant_id, own)]
    return [(tenant_id, DIGEST), *((tenant_id, each) for each in row["data"].get("types", ()))]


def _templates(row: asyncpg.Record | None, *, name: str, channel: Channel) -> Mapping[str, Mapping[str, Any]]:
    if row is None or not row["templates"]:
        return builtin_templates(name, channel)
    return with_layouts(row["templates"], row["layouts"] or {}, row["default_locale"])


def _tenant(row: asyncpg.Record) -> TenantProfile:
    return TenantProfile(
        slug=row["slug"],
        name=row["name"],
        default_locale=row["default_locale"],
        default_time_zone=row["default_time_zone"],
        sender_name=row["sender_name"],
        sender_address=row["sender_address"],
        reply_to=row["reply_to"],
        brand=row["brand"],
    )
