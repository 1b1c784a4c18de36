"""What a dead letter would say if it were sent again now."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from carillon_shared.content import ContentError, builtin_templates, render
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import EventContent, LeasedDelivery, Recipient, TenantProfile
from carillon_shared.domain.lanes import Lane
from carillon_shared.telemetry.masking import mask_value

from carillon_api.operators.models import DeadLetterPreview
from carillon_api.registry.template_storage import tenant_profile

_SELECT = """
SELECT d.id, d.channel::text, d.lane::text, d.attempt, d.created_at,
    e.id AS event_id, e.type, e.category, e.source, e.subject, e.time, e.data,
    s.id AS subscriber, s.number, coalesce(k.email, s.email) AS email, coalesce(k.phone, s.phone) AS phone,
    s.locale, s.time_zone, s.attributes, k.data AS own_data, y.sender_name, y.sender_address, y.reply_to,
    (SELECT jsonb_object_agg(c.locale, c.content)
     FROM (SELECT DISTINCT ON (m.locale) m.locale, m.content FROM carillon.templates m
           WHERE m.tenant_id = d.tenant_id AND m.event_type = e.type AND m.channel = d.channel
           ORDER BY m.locale, m.version DESC) AS c) AS templates
FROM carillon.deliveries d
JOIN carillon.events e ON e.id = d.event_id
JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
LEFT JOIN carillon.event_types y ON y.tenant_id = d.tenant_id AND y.name = e.type
LEFT JOIN carillon.corrections k ON k.delivery_id = d.id
WHERE d.id = $1 AND d.tenant_id = $2
"""


async def preview_of(
    connection: Connection, *, tenant_id: int, delivery_id: UUID
) -> DeadLetterPreview | None:
    """Render a delivery as its worker would, with the template, person and corrections of now; masked.

    None when the event is gone.
    """
    row = await connection.fetchrow(_SELECT, delivery_id, tenant_id)
    if row is None:
        return None
    try:
        rendered = asdict(render(_delivery(row, await tenant_profile(connection))))
    except ContentError as error:
        return DeadLetterPreview(rendered=None, error=mask_value(f"{error.reason}: {error.detail}"))
    return DeadLetterPreview(rendered=mask_value(rendered), error=None)


def _delivery(row: Any, tenant: TenantProfile) -> LeasedDelivery:
    channel = Channel(row["channel"])
    person = {name: row[name] for name in ("number", "email", "phone", "locale", "time_zone", "attributes")}
    return LeasedDelivery(
        id=row["id"],
        event=_event(row, tenant).corrected(row["own_data"]),
        recipient=Recipient(id=row["subscriber"], **person),
        channel=channel,
        lane=Lane(row["lane"]),
        attempt=row["attempt"] + 1,
        first_attempt_at=row["created_at"],
        templates=row["templates"] or builtin_templates(row["type"], channel),
    )


def _event(row: Any, tenant: TenantProfile) -> EventContent:
    told = ("type", "category", "source", "subject", "time", "data")
    senders = ("sender_name", "sender_address", "reply_to")
    return EventContent(id=row["event_id"], tenant=tenant, **{name: row[name] for name in (*told, *senders)})
