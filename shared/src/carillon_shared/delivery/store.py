"""The engine's statements: lease and settle in waves, one round trip and one commit each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from carillon_shared.db.pool import CONNECT_SECONDS, Pool, transaction
from carillon_shared.delivery.attempt import Attempted
from carillon_shared.delivery.suppressing import SUPPRESS, suppressions_of
from carillon_shared.delivery.work import Ended, Item
from carillon_shared.domain.outcomes import (
    Hold,
    Rejected,
    Retry,
    Sent,
    Undeliverable,
    Unknown,
)
from carillon_shared.domain.states import DeliveryStatus

T = TypeVar("T")

_SETTLE = """
    SELECT 'settled' AS part, id, status::text AS verdict, NULL::smallint AS attempt,
           NULL::smallint AS budget_start, NULL::smallint AS unknowns, NULL::float8 AS remaining,
           NULL::timestamptz AS first_attempt_at, NULL::text AS subscriber_id,
           NULL::bigint AS subscriber_number, NULL::text AS email, NULL::text AS phone, NULL::text AS locale,
           NULL::text AS time_zone, NULL::jsonb AS attributes, NULL::jsonb AS own_data,
           NULL::timestamptz AS wrote_at
    FROM carillon.settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""
_LEASE = """
    SELECT 'leased' AS part, id, verdict, attempt, budget_start, unknowns, remaining, first_attempt_at,
           subscriber_id, subscriber_number, email, phone, locale, time_zone, attributes, own_data,
           wrote_at
    FROM carillon.lease({})
"""
_LEASE_ALONE = _LEASE.format("$1, $2, $3, $4, $5, $6, $7")
_BOTH = _SETTLE + " UNION ALL " + _LEASE.format("$20, $21, $22, $23, $24, $25, $26")


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Deliveries to lease under one token. Asking again with the same token gives the same answer."""

    token: int
    items: Sequence[Item]
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What one wave did: the states for which something must be published, and a row for each delivery asked
    for that is not busy.
    """

    settled: dict[UUID, str]
    judged: dict[UUID, asyncpg.Record]


class WorkStore:
    """Deliveries in PostgreSQL, for one worker process."""

    def __init__(self, pool: Pool, *, holder: str) -> None:
        self._pool = pool
        self._holder = holder

    async def wave(
        self, ended: Sequence[Ended], request: LeaseRequest | None, *, now: float, finished: Sequence[int]
    ) -> Answer:
        """Settle what has ended and lease what starts now. `now` on the same clock as the attempts' times.

        Safe to repeat with the same arguments when the outcome of a commit is not known.
        Raises what asyncpg raises.
        """
        if ended or finished:
            settle = self._settle_arguments(ended, now, finished)
            if suppressing := suppressions_of(ended):
                return await self._wave_that_suppresses(suppressing, settle, request)
            if request is None:
                return _answer(await self._fetch(_SETTLE, *settle))
            return _answer(await self._fetch(_BOTH, *settle, *self._lease_arguments(request)))
        if request is None:
            return Answer({}, {})
        return _answer(await self._fetch(_LEASE_ALONE, *self._lease_arguments(request)))

    async def _wave_that_suppresses(
        self, suppressing: tuple[Any, ...], settle: tuple[Any, ...], request: LeaseRequest | None
    ) -> Answer:
        """Settle first, so that rows are locked in the order of every wave; lease what is not suppressed."""
        async with transaction(self._pool) as connection:
            rows = await connection.fetch(_SETTLE, *settle)
            await connection.execute(SUPPRESS, *suppressing)
            if request is not None:
                rows += await connection.fetch(_LEASE_ALONE, *self._lease_arguments(request))
        return _answer(rows)

    async def _fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            return await connection.fetch(statement, *arguments)

    def _lease_arguments(self, request: LeaseRequest) -> tuple[Any, ...]:
        items = sorted(request.items, key=lambda item: item.id)
        ids = [item.id for item in items]
        attempts = _column([item.chunk.message.attempt for item in items])
        return ids, attempts, ids[0], ids[-1], request.token, self._holder, request.seconds

    def _settle_arguments(
        self, ended: Sequence[Ended], now: float, finished: Sequence[int]
    ) -> tuple[Any, ...]:
        ordered = sorted(ended, key=lambda attempt: attempt.item.id)
        ids = [attempt.item.id for attempt in ordered]
        decisions = [attempt.decision for attempt in ordered]
        details = [_details(attempt.attempted) for attempt in ordered]
        return (
            ids,
            _column([attempt.lease.token for attempt in ordered]),
            _column([decision.status.value for decision in decisions]),
            _column([decision.reason for decision in decisions]),
            _column([decision.hold_reason for decision in decisions]),
            _column([decision.delay for decision in decisions]),
            _column([detail.provider_id for detail in details]),
            _column([detail.name for detail in details]),
            _column([detail.code for detail in details]),
            _column([detail.error for detail in details]),
            _column([detail.stack for detail in details]),
            _column([now - attempt.started for attempt in ordered]),
            _column([max(attempt.ended - attempt.started, 0.0) for attempt in ordered]),
            _column([_type_of_dead(attempt) for attempt in ordered]),
            _column([attempt.attempted.provider for attempt in ordered]),
            _column([int(attempt.attempted.spared) for attempt in ordered]),
            ids[0] if ids else _NIL,
            ids[-1] if ids else _NIL,
            list(finished),
        )


_NIL = UUID(int=0)
_MAX_TEXT = 4000


class _Details(NamedTuple):
    name: str | None  # None: no attempt is recorded
    provider_id: str | None = None
    code: str | None = None
    error: str | None = None
    stack: str | None = None


def _details(attempted: Attempted) -> _Details:
    match attempted.outcome:
        case Sent(provider_id=provider_id):
            first = attempted.refused_first
            return _Details("sent", _text(provider_id), "stood_in" if first else None, _text(first))
        case Retry(code=code, error=error):
            return _Details("retry", code=_text(code), error=_text(error))
        case Undeliverable(code=code, error=error):
            return _Details("undeliverable", code=_text(code), error=_text(error))
        case Rejected(code=code, error=error, stack=stack):
            return _Details("rejected", code=_text(code), error=_text(error), stack=_text(stack))
        case Unknown(code=code, error=error):
            return _Details("unknown", code=_text(code), error=_text(error))
        case Hold():
            return _Details(None)


def _text(words: str | None) -> str | None:
    """Shorten words that are not ours and take out what PostgreSQL cannot store: NUL, lone surrogates.

    One message that could not be written down would otherwise stop every wave.
    """
    if words is None or (len(words) <= _MAX_TEXT and words.isascii() and "\0" not in words):
        return words
    return words.replace("\0", "")[:_MAX_TEXT].encode(errors="replace").decode()


def _column(values: list[T]) -> list[T]:
    """Return one value for all where they are the same: driver and database look at each."""
    same = bool(values) and values.count(values[0]) == len(values)
    return values[:1] if same else values


def _type_of_dead(ended: Ended) -> str | None:
    return ended.delivery.event.type if ended.decision.status is DeliveryStatus.DEAD else None


def _answer(rows: Sequence[asyncpg.Record]) -> Answer:
    settled = {row["id"]: row["verdict"] for row in rows if row["part"] == "settled"}
    return Answer(settled, {row["id"]: row for row in rows if row["part"] == "leased"})
