"""The dry run of an event: accepted and planned by the database's own functions, and taken back by it."""

from typing import Any

import orjson
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import DeliveryStatus, EventStatus, HoldReason, Reason
from pydantic import BaseModel

from carillon_api.explanations.explaining import explained
from carillon_api.explanations.models import Explained
from carillon_api.intake.rows import IntakeRow
from carillon_api.intake.store import columns
from carillon_api.intake.timestamps import Timestamp

MOST_PEOPLE = 100
"""Of a larger audience the first so many are planned."""

_REHEARSE = """
SELECT carillon.rehearse(
    $1, $2, $3, $4::integer[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::text[], $13::timestamptz[], $14::text[], $15::text[], $16::text[], $17::text[],
    $18::timestamptz[], $19::timestamptz[], $20::text[], $21::text[], $22::boolean[],
    $23::text[], $24::text[])
"""


class RehearsedRow(BaseModel):
    """A delivery that the event would have."""

    subscriber: str
    channel: Channel
    status: DeliveryStatus
    reason: Reason | None
    hold_reason: HoldReason | None
    due_at: Timestamp | None

    def explained(self) -> Explained:
        """Return why it would be so."""
        return explained(
            subscriber=self.subscriber,
            channel=self.channel,
            status=self.status,
            reason=self.reason,
            hold_reason=self.hold_reason,
            until=self.due_at,
        )


class Rehearsal(BaseModel):
    """What would come of an event."""

    result: str  # as of `intake.rows.Result`
    event_id: str | None
    status: EventStatus | None = None
    people: int = 0
    expired: bool = False
    rows: list[RehearsedRow] = []


async def rehearse(connection: Connection, row: IntakeRow, *, person: str | None) -> Rehearsal:
    """Return what would come of an event now, for one person or for the first `MOST_PEOPLE`."""
    tenant = row.key.tenant_id
    found: Any = await connection.fetchval(_REHEARSE, tenant, person, MOST_PEOPLE, *columns([row]))
    return Rehearsal.model_validate(found if isinstance(found, dict) else orjson.loads(found))
