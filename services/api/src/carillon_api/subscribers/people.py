"""What every route about one person asks for."""

from typing import Annotated

from carillon_shared.db.pool import Connection
from fastapi import Depends, Path

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import get_services, require_scope
from carillon_api.errors import Problem, not_found
from carillon_api.services import Services
from carillon_api.subscribers import storage

_NAME = r"^[^\x00-\x1f\x7f]+$"
TOPIC_PATTERN = r"^[^\x00-\x1f\x7f,]+$"

SubscriberId = Annotated[
    str, Path(alias="subscriber", min_length=1, max_length=200, pattern=_NAME, examples=["u-7"])
]
RoleName = Annotated[str, Path(min_length=1, max_length=200, pattern=_NAME, examples=["support"])]
TopicName = Annotated[
    str, Path(alias="topic", min_length=1, max_length=200, pattern=TOPIC_PATTERN, examples=["ticket:42"])
]
Registrar = Annotated[ApiKey, Depends(require_scope("subscribers:write"))]
Parts = Annotated[Services, Depends(get_services)]


def unknown_subscriber() -> Problem:
    """Nobody has registered this person."""
    return not_found("subscriber")


async def existing_number(connection: Connection, subscriber: str) -> int:
    """Return a registered person's number. Raises `Problem` 404."""
    number = await storage.find_number(connection, subscriber)
    if number is None:
        raise unknown_subscriber()
    return number
