"""Templates in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import Recipient, TenantProfile

from carillon_api.registry.template_models import TemplateVersion

_COLUMNS = "event_type AS type, channel::text, locale, version, content, created_at"

_PUT = f"""
INSERT INTO carillon.templates (tenant_id, event_type, channel, locale, version, content)
SELECT $1, $2, $3::text::carillon.channel, $4, coalesce(max(version), 0) + 1, $5
FROM carillon.templates WHERE event_type = $2 AND channel = $3::text::carillon.channel AND locale = $4
RETURNING {_COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class TemplateKey:
    """Which template."""

    type: str
    channel: Channel
    locale: str


async def put_template(
    connection: Connection, *, tenant_id: int, key: TemplateKey, content: Mapping[str, Any]
) -> TemplateVersion | None:
    """Store a new version; None when the event type does not exist."""
    # The type's row is locked, so that two versions written at once get two numbers.
    known = await connection.fetchval(
        "SELECT 1 FROM carillon.event_types WHERE name = $1 FOR NO KEY UPDATE", key.type
    )
    if not known:
        return None
    row = await connection.fetchrow(_PUT, tenant_id, key.type, key.channel.value, key.locale, content)
    return TemplateVersion.model_validate(dict(row)) if row else None


async def list_versions(connection: Connection, key: TemplateKey, *, limit: int) -> list[TemplateVersion]:
    """Return the versions of one template, newest first."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM carillon.templates
            WHERE event_type = $1 AND channel = $2::text::carillon.channel AND locale = $3
            ORDER BY version DESC LIMIT $4""",
        key.type,
        key.channel.value,
        key.locale,
        limit,
    )
    return [TemplateVersion.model_validate(dict(row)) for row in rows]


async def list_current(connection: Connection, event_type: str) -> list[TemplateVersion]:
    """Return the newest version of every template of an event type."""
    rows = await connection.fetch(
        f"""SELECT DISTINCT ON (channel, locale) {_COLUMNS} FROM carillon.templates
            WHERE event_type = $1 ORDER BY channel, locale, version DESC""",
        event_type,
    )
    return [TemplateVersion.model_validate(dict(row)) for row in rows]


async def delete_template(connection: Connection, key: TemplateKey) -> bool:
    """Delete a template with all its versions; false when there is none."""
    status = await connection.execute(
        """DELETE FROM carillon.templates
           WHERE event_type = $1 AND channel = $2::text::carillon.channel AND locale = $3""",
        key.type,
        key.channel.value,
        key.locale,
    )
    return bool(status != "DELETE 0")


async def tenant_profile(connection: Connection) -> TenantProfile:
    """Return what messages of the current tenant look like."""
    row = await connection.fetchrow(
        """SELECT slug, name, default_locale, default_time_zone, sender_name, sender_address, reply_to, brand
           FROM carillon.tenants"""
    )
    assert row is not None  # noqa: S101 - the caller's key belongs to it
    return TenantProfile(**row)


async def find_recipient(connection: Connection, subscriber: str) -> Recipient | None:
    """Return a registered person."""
    row = await connection.fetchrow(
        """SELECT id, number, email, phone, locale, time_zone, attributes
           FROM carillon.subscribers WHERE id = $1 AND registered""",
        subscriber,
    )
    return Recipient(**row) if row else None
