"""Tickets open a stream where a header cannot be sent. Only their hashes are stored, and none is logged."""

import hashlib
import secrets
from datetime import timedelta

from carillon_shared.db.pool import Pool, tenant_transaction

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.inbox.models import Ticket

OPEN_WITHIN = timedelta(seconds=60)


async def make_ticket(pool: Pool, person: SubscriberToken) -> Ticket:
    """Return a new ticket of this person, good until their token ends."""
    ticket = secrets.token_urlsafe(24)
    async with tenant_transaction(pool, person.tenant_id) as connection:
        row = await connection.fetchrow(
            """INSERT INTO carillon.stream_tickets (
                   hash, tenant_id, subscriber, topics, open_until, token_expires_at)
               VALUES ($1, $2, $3, $4, now() + $5, $6) RETURNING open_until""",
            _hash(ticket),
            person.tenant_id,
            person.subscriber,
            list(person.topics),
            OPEN_WITHIN,
            person.expires_at,
        )
    assert row is not None  # noqa: S101 - an insert returns its row
    return Ticket(ticket=ticket, open_until=row["open_until"], expires_at=person.expires_at)


async def redeem(pool: Pool, ticket: str) -> SubscriberToken | None:
    """Return whose ticket this is; None when it is unknown, opened too late, or has ended."""
    row = await pool.fetchrow("SELECT * FROM carillon.redeem_stream_ticket($1)", _hash(ticket))
    if row is None:
        return None
    return SubscriberToken(
        tenant_id=row["tenant_id"],
        tenant=row["tenant"],
        subscriber=row["subscriber"],
        topics=tuple(row["topics"]),
        expires_at=row["token_expires_at"],
    )


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
