"""Who calls a recipient route, and their number."""

from dataclasses import dataclass
from typing import Annotated

from carillon_shared.db.pool import Connection, tenant_transaction
from fastapi import Depends

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.dependencies import current_subscriber, get_services
from carillon_api.errors import not_found
from carillon_api.services import Services

Caller = Annotated[SubscriberToken, Depends(current_subscriber)]
Parts = Annotated[Services, Depends(get_services)]


@dataclass(frozen=True, slots=True)
class Known:
    """A registered person: number, and the topics they follow."""

    number: int
    topics: frozenset[str]


async def number_of(connection: Connection, subscriber: str) -> int:
    """Return the person's number. Raises `Problem` 404 when nobody has registered them."""
    number: int | None = await connection.fetchval(
        "SELECT number FROM carillon.subscribers WHERE id = $1 AND registered", subscriber
    )
    if number is None:
        raise not_found("subscriber")
    return number


async def find_known(services: Services, person: SubscriberToken) -> Known:
    """Return what a stream needs to know of its person. Raises `Problem` 404."""
    async with tenant_transaction(services.pool, person.tenant_id) as connection:
        row = await connection.fetchrow(
            """SELECT s.number, ARRAY(
                   SELECT m.name FROM carillon.memberships m
                   WHERE m.tenant_id = s.tenant_id AND m.subscriber = s.number AND m.kind = 'topic') AS topics
               FROM carillon.subscribers s WHERE s.id = $1 AND s.registered""",
            person.subscriber,
        )
    if row is None:
        raise not_found("subscriber")
    return Known(row["number"], frozenset(row["topics"]))
