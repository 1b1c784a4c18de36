"""Deliveries in any state, and providers that report on them straight to the database."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from carillon_api.receipts.receipt import Failure, Receipt, Report
from carillon_api.receipts.store import Written, record_receipts
from carillon_shared.db.pool import Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import Reason, ReceiptState
from support.world import World

REJECTED = Failure(Reason.INVALID_ADDRESS, "whatsapp_131026", "undeliverable")
PASSING = Failure(None, "whatsapp_131000", "something went wrong")
_DUE = """
    INSERT INTO carillon.due (delivery_id, due_at, kind)
    SELECT unnest($1::uuid[]), now(), $2::text::carillon.due_kind
"""
_LEASE = "INSERT INTO carillon.leases (token, until, holder, delivery_ids) VALUES (7, now(), 'gone', $1)"
_DEAD_LETTER = """
    INSERT INTO carillon.dead_letters (delivery_id, tenant_id, channel, event_type, attempt, reason)
    SELECT unnest($1::uuid[]), $2, 'whatsapp', 'message', 1, 'outcome_unknown'
"""
# What each state needs besides its name.
_COLUMNS = {
    "held": "hold_reason = 'throttled'",
    "sending": "lease_token = 7",
    "retrying": "next_attempt_at = now()",
    "unknown": "lease_token = 7, unknowns = 1",
    "sent": "provider_id = 'wamid.1', provider = 'cloud_api'",
    "failed": "reason = 'invalid_address'",
    "dead": "reason = 'outcome_unknown'",
    "cancelled": "reason = 'cancelled'",
}


def receipt(delivery: UUID | None, state: str, message: str = "wamid.1", **fields: Any) -> Receipt:
    """Return a receipt; a failed one is for good unless another `failure` is given."""
    wanted = ReceiptState(state)
    if wanted is ReceiptState.FAILED:
        fields.setdefault("failure", REJECTED)
    return Receipt(delivery, message, wanted, **fields)


@dataclass(frozen=True, slots=True)
class Reporting:
    """A tenant's deliveries over WhatsApp, and the API's hands that take receipts for them."""

    world: World
    api: Pool

    async def deliveries(self, status: str, count: int = 1, *, attempt: int = 1) -> list[UUID]:
        """Return deliveries of one event in a state, with the side rows that belong to it."""
        if len(self.world.people) < count:
            await self.world.add_people(count - len(self.world.people), start=len(self.world.people) + 1)
        event = await self.world.add_event(channels=[Channel.WHATSAPP])
        ids = await self.world.add_deliveries(event, self.world.people[:count], Channel.WHATSAPP)
        columns = ["status = $2::text::carillon.delivery_status", "attempt = $3"]
        columns += [_COLUMNS[status]] if status in _COLUMNS else []
        await self.world.pool.execute(
            f"UPDATE carillon.deliveries SET {', '.join(columns)} WHERE id = ANY ($1)", ids, status, attempt
        )
        kind = {"unknown": "unknown", "retrying": "retry", "held": "hold"}.get(status)
        if kind is not None:
            await self.world.pool.execute(_DUE, ids, kind)
        if status == "sending":
            await self.world.pool.execute(_LEASE, ids)
        if status == "dead":
            await self.world.pool.execute(_DEAD_LETTER, ids, self.world.tenant_id)
        return ids

    async def report(self, *receipts: Receipt, tenant_id: int | None = None) -> Written:
        """Hand in receipts as one webhook does."""
        tenant_id = tenant_id or self.world.tenant_id
        report = Report(tenant_id, Channel.WHATSAPP, "cloud_api", receipts)
        return await record_receipts(self.api, [report])

    async def row(self, delivery: UUID) -> asyncpg.Record:
        """Return a delivery's row."""
        row = await self.world.pool.fetchrow("SELECT * FROM carillon.deliveries WHERE id = $1", delivery)
        assert row is not None
        return row

    async def statuses(self) -> dict[UUID, str]:
        """Return the state of every delivery."""
        rows = await self.world.pool.fetch("SELECT id, status::text AS status FROM carillon.deliveries")
        return {row["id"]: row["status"] for row in rows}

    async def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(await self.world.pool.fetchval(f"SELECT count(*) FROM carillon.{table}"))
