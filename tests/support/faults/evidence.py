"""What the database says and what the providers received, read once when all is at rest."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from carillon_shared.db.pool import Pool
from support.faults.ledger import Accepted, Ledger
from support.platform import Platform

Record = asyncpg.Record

_STATEMENTS = {
    "events": "SELECT * FROM carillon.events WHERE tenant_id = ANY ($1)",
    "deliveries": """
        SELECT d.*, s.id AS person, s.email, s.phone, e.type
        FROM carillon.deliveries d
        JOIN carillon.subscribers s ON s.tenant_id = d.tenant_id AND s.number = d.subscriber
        LEFT JOIN carillon.events e ON e.id = d.event_id
        WHERE d.tenant_id = ANY ($1) ORDER BY d.id
    """,
    "attempts": "SELECT * FROM carillon.attempts WHERE tenant_id = ANY ($1) ORDER BY delivery_id, number",
    "due": """
        SELECT u.* FROM carillon.due u JOIN carillon.deliveries d ON d.id = u.delivery_id
        WHERE d.tenant_id = ANY ($1)
    """,
    "leases": """
        SELECT l.token, l.delivery_ids FROM carillon.leases l
        WHERE EXISTS (
            SELECT FROM carillon.deliveries d WHERE d.id = ANY (l.delivery_ids) AND d.tenant_id = ANY ($1))
    """,
    "dead_letters": "SELECT * FROM carillon.dead_letters WHERE tenant_id = ANY ($1)",
    "feeds": """
        SELECT f.*, s.id AS person FROM carillon.feeds f
        JOIN carillon.subscribers s ON s.tenant_id = f.tenant_id AND s.number = f.subscriber
        WHERE f.tenant_id = ANY ($1)
    """,
    "feed_items": "SELECT * FROM carillon.feed_items WHERE tenant_id = ANY ($1) ORDER BY seq, id",
    "event_types": "SELECT * FROM carillon.event_types WHERE tenant_id = ANY ($1)",
}
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Received:
    """One message that a provider took: whose delivery it names, and where it went."""

    channel: str
    reference: str
    to: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All there is to compare. Rows are of the ledgers' tenants only; `received` is everything."""

    ledgers: Sequence[Ledger]
    tables: Mapping[str, Sequence[Record]]
    received: Sequence[Received]
    progress: Mapping[UUID, Any]

    def accepted(self) -> dict[UUID, Accepted]:
        """Return what producers know, by event id."""
        return {event: one for ledger in self.ledgers for event, one in ledger.by_event().items()}

    def by_delivery(self, table: str) -> dict[UUID, list[Record]]:
        """Return a table's rows by delivery."""
        found: dict[UUID, list[Record]] = defaultdict(list)
        for row in self.tables[table]:
            found[row["delivery_id"]].append(row)
        return found

    def received_of(self) -> dict[str, list[Received]]:
        """Return what providers took, by the delivery's id as text."""
        found: dict[str, list[Received]] = defaultdict(list)
        for one in self.received:
            found[one.reference].append(one)
        return found


async def gather_evidence(platform: Platform, pool: Pool, ledgers: Sequence[Ledger]) -> Evidence:
    """Read everything about these ledgers' tenants."""
    tenants = [ledger.tenant.id for ledger in ledgers]
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        tables = {name: await connection.fetch(sql, tenants) for name, sql in _STATEMENTS.items()}
    progress = {}
    for ledger in ledgers:
        for event in ledger.by_event():
            reply = await ledger.tenant.http.get(f"/v1/events/{event}")
            progress[event] = reply.json() if reply.status_code == 200 else None
    return Evidence(ledgers, tables, await read_received(platform), progress)


async def read_received(platform: Platform) -> list[Received]:
    """Return every message the mock providers took, in the order of arrival, without simulated copies."""
    mails = [
        Received("email", mail["message_id"].strip("<>").partition("@")[0], to)
        async for mail in _pages(platform, "/api/mail", detail=False)
        if mail["copy_of"] is None
        for to in mail["to"]
    ]
    messages = [
        Received("whatsapp", message["biz_opaque_callback_data"] or "", message["to"])
        async for message in _pages(platform, "/api/whatsapp")
    ]
    return mails + messages


async def _pages(platform: Platform, path: str, **params: Any) -> Any:
    since = 0
    while True:
        page = await platform.mock(path, since=since, limit=_PAGE, **params)
        for item in page["items"]:
            yield item
        if not page["items"]:
            return
        since = page["last"]
