"""Messages that nobody could read, in the database. They are no tenant's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_shared.db.pool import Connection
from carillon_shared.telemetry.masking import mask_text
from pydantic import BaseModel, ConfigDict, Field, model_validator

from carillon_api.operators.models import Why

MAX_IDS = 1000
_PREVIEW = 500  # characters
_COLUMNS = "id, queue, message_id, message_type, octet_length(body) AS size, error, received_at, body"
_LIST = f"""
SELECT {_COLUMNS} FROM carillon.poison_messages
WHERE ($1::bigint IS NULL OR id < $1) AND ($2::text IS NULL OR queue = $2)
ORDER BY id DESC LIMIT $3
"""
_GET = f"SELECT {_COLUMNS} FROM carillon.poison_messages WHERE id = $1"
_DISCARD = """
DELETE FROM carillon.poison_messages
WHERE ($1::bigint[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR queue = $2)
RETURNING id
"""


class PoisonMessage(BaseModel):
    """A message that could not be read, or that ended every process that took it."""

    id: int
    queue: str = Field(description="Where it was.")
    message_id: str | None
    message_type: str | None
    size: int = Field(description="Bytes kept of its body, at most 64 KiB.")
    error: str
    received_at: datetime
    body: str = Field(description="As text, addresses masked; in the list only its beginning.")


class PoisonDiscard(BaseModel):
    """Which to discard."""

    model_config = ConfigDict(extra="forbid")

    ids: list[int] | None = Field(default=None, min_length=1, max_length=MAX_IDS)
    queue: str | None = Field(default=None, max_length=128, pattern=r"^[^\x00]*$")
    all: bool = Field(default=False, description="Needed where neither ids nor a queue are given.")
    reason: Why = Field(description="Why, for the audit.")

    @model_validator(mode="after")
    def _is_meant(self) -> "PoisonDiscard":
        if self.ids is None and self.queue is None and not self.all:
            raise ValueError('without ids or a queue this means everything: say so with "all": true')
        return self


class PoisonDiscarded(BaseModel):
    """How many were discarded."""

    discarded: int


@dataclass(frozen=True, slots=True)
class PoisonFilter:
    """Which to list: older than an id, of one queue."""

    before: int | None
    queue: str | None


async def list_poison(connection: Connection, wanted: PoisonFilter, *, limit: int) -> list[PoisonMessage]:
    """Return messages, newest first."""
    rows = await connection.fetch(_LIST, wanted.before, wanted.queue, limit)
    return [_message(row, size=_PREVIEW) for row in rows]


async def get_poison(connection: Connection, identifier: int) -> PoisonMessage | None:
    """Return one message with its whole body, None when there is none of that id."""
    row = await connection.fetchrow(_GET, identifier)
    return _message(row) if row is not None else None


async def discard_poison(connection: Connection, wanted: PoisonDiscard) -> Sequence[int]:
    """Remove messages; return their ids."""
    rows = await connection.fetch(_DISCARD, wanted.ids, wanted.queue)
    return [row["id"] for row in rows]


def _message(row: Any, *, size: int | None = None) -> PoisonMessage:
    text = row["body"].decode(errors="replace")
    return PoisonMessage.model_validate(
        {**dict(row), "body": mask_text(text)[:size], "error": mask_text(row["error"])}
    )
