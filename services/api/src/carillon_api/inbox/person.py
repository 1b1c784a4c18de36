"""Who calls a recipient route, and their number."""

from typing import Annotated

from carillon_shared.db.pool import Connection
from fastapi import Depends

from carillon_api.authentication.callers import SubscriberToken
from carillon_api.dependencies import current_subscriber, get_services
from carillon_api.errors import not_found
from carillon_api.services import Services

Caller = Annotated[SubscriberToken, Depends(current_subscriber)]
Parts = Annotated[Services, Depends(get_services)]


async def number_of(connection: Connection, subscriber: str) -> int:
    """Return the person's number. Raises `Problem` 404 when nobody has registered them."""
    number: int | None = await connection.fetchval(
        "SELECT number FROM carillon.subscribers WHERE id = $1 AND registered", subscriber
    )
    if number is None:
        raise not_found("subscriber")
    return number
