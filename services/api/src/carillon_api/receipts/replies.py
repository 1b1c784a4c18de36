"""What people write to the WhatsApp number that sends: it opens a day of free text, and may say stop.

Sources: Meta's pages "Webhooks > Components" (`messages`) and "user_preferences webhooks".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.db.transient import is_transient
from carillon_shared.domain.suppressions import SUPPRESSED_SECONDS, SuppressionReason
from pydantic import BaseModel, Field, ValidationError

from carillon_api.errors import database_unavailable
from carillon_api.receipts.whatsapp import listed_in

_STATEMENT_SECONDS: Final = 8.0
_NOTE: Final = "SELECT carillon.note_whatsapp_replies($1, $2, $3, $4, $5)"
_STOP: Final = frozenset(
    {"stop", "stop all", "stopall", "unsubscribe", "opt out", "optout", "зогсоо", "болих"}
)
_START: Final = frozenset({"start", "unstop", "resume", "эхлүүл"})

Wish = Literal["stop", "start"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Somebody wrote to us."""

    phone: str  # E.164
    at: datetime
    wish: Wish | None = None


class _Words(BaseModel):
    body: str | None = None  # of a text
    text: str | None = None  # of a template's button


class _Message(BaseModel):
    sender: str = Field(alias="from", pattern=r"^\+?\d{4,20}$")
    timestamp: float
    text: _Words | None = None
    button: _Words | None = None


class _Preference(BaseModel):
    wa_id: str = Field(pattern=r"^\+?\d{4,20}$")
    value: Literal["stop", "resume"]
    timestamp: float


def replies_in(body: bytes) -> list[Reply]:
    """Return who wrote what, as far as it matters here. What cannot be read is passed over."""
    return [reply for raw in listed_in(body, "messages", "user_preferences") if (reply := _reply(raw))]


async def note_replies(pool: Pool, replies: Sequence[Reply], *, tenant_id: int | None) -> None:
    """Write replies down; the same again does no harm. Raises `Problem` 503 when the database is away."""
    if not replies:
        return
    try:
        async with pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute(
                _NOTE,
                [tenant_id] * len(replies),
                [reply.phone for reply in replies],
                [reply.at for reply in replies],
                [reply.wish for reply in replies],
                SUPPRESSED_SECONDS[SuppressionReason.STOPPED],
                timeout=_STATEMENT_SECONDS,
            )
    except Exception as error:
        if is_transient(error):
            raise database_unavailable() from error
        raise


def _reply(raw: Any) -> Reply | None:
    try:
        if isinstance(raw, dict) and "wa_id" in raw:
            told = _Preference.model_validate(raw)
            return _of(told.wa_id, told.timestamp, "stop" if told.value == "stop" else "start")
        message = _Message.model_validate(raw)
        return _of(message.sender, message.timestamp, _wish(message))
    except (ValidationError, OverflowError, ValueError, OSError):
        return None


def _of(phone: str, seconds: float, wish: Wish | None) -> Reply:
    return Reply(f"+{phone.lstrip('+')}", datetime.fromtimestamp(seconds, UTC), wish)


def _wish(message: _Message) -> Wish | None:
    """Return what a whole message asks for: a word within a sentence may mean anything."""
    words = (message.text and message.text.body) or (message.button and message.button.text) or ""
    said = " ".join(words.casefold().split()).strip(".! ")
    if said in _STOP:
        return "stop"
    return "start" if said in _START else None
