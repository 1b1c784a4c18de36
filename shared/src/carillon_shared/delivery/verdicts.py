"""What the engine makes of the database's answers. Pure."""

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from carillon_shared.content.digest_items import with_titles
from carillon_shared.delivery.aftermath import Aftermath, Again, Buried
from carillon_shared.delivery.work import Ended, Item
from carillon_shared.domain.delivery import LeasedDelivery, Recipient
from carillon_shared.domain.states import DeliveryStatus, Reason

Row = asyncpg.Record


def leased_delivery(item: Item, row: Row) -> LeasedDelivery:
    """Return the delivery to send."""
    chunk = item.chunk
    delivery = LeasedDelivery(
        id=item.id,
        event=chunk.event.content.corrected(row["own_data"]),
        recipient=Recipient(
            id=row["subscriber_id"],
            number=row["subscriber_number"],
            email=row["email"],
            phone=row["phone"],
            locale=row["locale"],
            time_zone=row["time_zone"],
            attributes=row["attributes"],
            wrote_at=row["wrote_at"],
        ),
        channel=chunk.message.channel,
        lane=chunk.message.lane,
        attempt=row["attempt"],
        first_attempt_at=row["first_attempt_at"],
        templates=chunk.event.templates,
    )
    return with_titles(delivery, titles) if (titles := chunk.event.item_templates) is not None else delivery


def after_refused_lease(item: Item, row: Row) -> Aftermath | None:
    """Return what must still be published for a delivery that is not ours to send now; mostly nothing.

    A redelivered message whose attempt was made may stand for a retry or a dead letter that was never
    published: a process that dies between settling and publishing leaves that. Twice does no harm.
    """
    chunk = item.chunk
    match row["verdict"]:
        case "early":
            return Again(chunk, item.id, chunk.message.attempt, row["remaining"])
        case "again" if chunk.incoming.redelivered:
            return Again(chunk, item.id, row["attempt"] + 1, max(row["remaining"], 0.0))
        case "buried" if chunk.incoming.redelivered:
            return Buried(chunk, item.id, row["attempt"], Reason.RETRIES_EXHAUSTED)
    return None


def after_settle(ended: Ended, settled: Mapping[UUID, str]) -> Aftermath | None:
    """Return what must be published for an attempt that is written down now."""
    item, decision = ended.item, ended.decision
    match settled.get(item.id):
        case DeliveryStatus.RETRYING:
            return Again(item.chunk, item.id, ended.delivery.attempt + 1, decision.delay or 0.0)
        case DeliveryStatus.DEAD:
            reason = decision.reason or Reason.RETRIES_EXHAUSTED
            return Buried(item.chunk, item.id, ended.delivery.attempt, reason)
    return None
