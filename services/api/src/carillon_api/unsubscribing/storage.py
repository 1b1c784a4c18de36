"""Whose link it is, and what they chose, in the database."""

from typing import NamedTuple

from carillon_shared.db.pool import Connection
from carillon_shared.domain.unsubscribe import MailingOf

from carillon_api.subscribers.storage import get_preferences, put_preferences
from carillon_api.unsubscribing.wishes import Scope, without

_READER = """
SELECT t.name AS tenant, coalesce(s.locale, t.default_locale) AS locale
FROM carillon.subscribers s JOIN carillon.tenants t ON t.id = s.tenant_id
WHERE s.number = $1 AND s.registered
"""


class Reader(NamedTuple):
    """Who opened the link, as its page needs it."""

    tenant: str  # its name
    locale: str


async def find_reader(connection: Connection, number: int) -> Reader | None:
    """Return who has this number; None when they are gone."""
    row = await connection.fetchrow(_READER, number)
    return Reader(row["tenant"], row["locale"]) if row else None


async def leave(connection: Connection, mailing: MailingOf, scope: Scope, *, tenant_id: int) -> None:
    """Write the wish into the person's preferences. Twice is once; two clicks at once take turns."""
    chosen = await get_preferences(connection, mailing.subscriber, lock=True)
    document = without(chosen, mailing, scope)
    if document != chosen:
        await put_preferences(connection, tenant_id=tenant_id, number=mailing.subscriber, document=document)
